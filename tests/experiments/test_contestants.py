"""The optimizers that are compared."""

import copy

import torch

from experiments.contestants import L1, contestants
from experiments.models.classifiers import build, digits_resnet


def stepped(name, **changes):
    model = build(digits_resnet, 1, 10, seed=0)
    optimizer = contestants({})[name](model, 0.1, 0)
    for group in optimizer.param_groups:
        group.update({k: v for k, v in changes.items() if k in group})
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    return model


def test_l1_is_sgd_and_a_soft_threshold_of_the_head():
    dense, sparse = stepped("SGD"), stepped("SGD with L1")
    threshold = L1 * 0.1 / (1 - 0.9)
    expected = copy.deepcopy(dense.state_dict())
    w = expected["fc.weight"]
    expected["fc.weight"] = w.sign() * (w.abs() - threshold).clamp(min=0)
    for name, value in sparse.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)
    assert (sparse.fc.weight == 0).any()


def test_without_strength_it_is_sgd():
    dense, sparse = stepped("SGD"), stepped("SGD with L1", l1=0.0)
    assert all(
        torch.equal(a, b) for a, b in zip(dense.parameters(), sparse.parameters(), strict=True)
    )


def test_options_reach_ours_alone():
    model = build(digits_resnet, 1, 10, seed=0)
    made = {name: make(model, 0.1, 3) for name, make in contestants({"block_size": 2}).items()}
    assert made["InterpretableSGD"].param_groups[0]["block_size"] == 2
    assert "block_size" not in made["SGD"].param_groups[0]
    assert all(optimizer.param_groups[0]["lr"] == 0.1 for optimizer in made.values())

"""Numbers of networks whose answer is known, and against literal loops over weights and units."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from experiments.evaluation.metrics import (
    COUNTS,
    Outputs,
    decision_metrics,
    head_metrics,
    mean_residual,
    read,
)
from experiments.models.registry import Model
from interpretable_sgd import DynamicLinear

IMAGES = torch.eye(8)
LABELS = torch.arange(8)


def net(head=nn.Linear, **options):
    """Eight units that are the image, and a head that is right."""
    model = nn.Sequential(nn.Identity(), head(8, 8, bias=False, **options))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(8) - 1e-4)
    return model


def test_a_net_is_read_whole_and_left_in_its_mode():
    model = net().train()
    found = read(model, TensorDataset(IMAGES, LABELS))
    assert torch.equal(found.units, IMAGES) and torch.equal(found.labels, LABELS)
    assert torch.allclose(found.logits, model(IMAGES)) and model.training
    assert found.accuracy() == 1


def test_top_k():
    logits = torch.tensor([[4.0, 3.0, 2.0, 1.0]]).repeat(4, 1)
    found = Outputs(torch.zeros(4, 0), logits, torch.arange(4))
    assert [found.accuracy(k) for k in (1, 2, 4, 9)] == [0.25, 0.5, 1, 1]


def test_weights_that_are_small_do_not_count():
    assert head_metrics(net()) == {"weights_per_class": 1.0, "sparsity": 7 / 8}


@pytest.mark.parametrize(("head", "options"), [(nn.Linear, {}), (DynamicLinear, {"k": 2})])
def test_a_decision_of_one_unit_survives_pruning_to_one(head, options):
    model = net(head, **options)
    found = decision_metrics(model, read(model, TensorDataset(IMAGES, LABELS)))
    assert found["accuracy"] == found["top5"] == 1 and found["residual_at_5"] == pytest.approx(0)
    assert found["accuracy_at_weights"]["weights"] == [1, 2, 3, 4, 5, 6, 8]
    assert found["accuracy_at_weights"]["accuracy"] == [1.0] * 7


def test_a_routed_head_is_pruned_as_it_routes():
    """Two weak units outvote a strong one, unless only one may speak; pruning to two leaves that."""
    model = nn.Sequential(nn.Identity(), DynamicLinear(3, 2, bias=False, k=1))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.7, 0.7]]))
    test = read(model, TensorDataset(torch.ones(1, 3), torch.tensor([0])))
    assert decision_metrics(model, test)["accuracy_at_weights"]["accuracy"] == [1, 1, 1]
    model[1] = nn.Linear(3, 2, bias=False).requires_grad_(False)
    model[1].weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.7, 0.7]]))
    test = read(model, TensorDataset(torch.ones(1, 3), torch.tensor([0])))
    assert decision_metrics(model, test)["accuracy_at_weights"]["accuracy"] == [1, 0, 0]


def test_numbers_are_those_of_literal_loops():
    model = Model("digits_resnet").build((1, 8, 8), 10)
    with torch.no_grad():
        model.fc.weight[model.fc.weight.abs() < 0.05] = 0
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.rand(40, 1, 8, 8, generator=generator), torch.arange(40) % 10
    found = decision_metrics(model, read(model, TensorDataset(images, labels)))
    found |= head_metrics(model)
    model.eval()
    weight, bias = model.fc.weight.tolist(), model.fc.bias.tolist()
    kept = [sum(abs(w) >= 1e-3 for w in row) for row in weight]
    assert found["weights_per_class"] == sum(kept) / 10
    assert found["sparsity"] == pytest.approx(1 - sum(kept) / 640)
    with torch.no_grad():
        units, logits = model.units(images).tolist(), model(images)
    right = (logits.argmax(1) == labels).double().mean().item()
    assert found["accuracy"] == right

    outside = []
    for row, c in zip(units, logits.argmax(1).tolist(), strict=True):
        sizes = sorted((abs(w * x) for w, x in zip(weight[c], row, strict=True)), reverse=True)
        outside.append(sum(sizes[5:]) / sum(sizes))
    assert found["residual_at_5"] == pytest.approx(sum(outside) / 40, abs=1e-6)

    curve = found["accuracy_at_weights"]
    assert curve["weights"][-1] == 64 and curve["accuracy"][-1] == right and 5 in COUNTS
    rows = [sorted(range(64), key=lambda m: -abs(row[m]))[:3] for row in weight]
    scores = [
        [bias[c] + sum(weight[c][m] * x[m] for m in rows[c]) for c in range(10)] for x in units
    ]
    correct = [max(range(10), key=z.__getitem__) == n % 10 for n, z in enumerate(scores)]
    assert curve["accuracy"][curve["weights"].index(3)] == sum(correct) / 40


def test_residual_limits():
    few = torch.tensor([[3.0, 0.0, -2.0, 0.0, 0.0, 0.0, 1.0]])
    assert mean_residual(few, 5) == pytest.approx(0, abs=1e-15)
    assert mean_residual(torch.zeros(2, 7), 5) == 0
    assert mean_residual(torch.ones(1, 10), 5) == pytest.approx(0.5)

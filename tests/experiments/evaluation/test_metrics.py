"""Numbers of a trained net against literal loops over its weights and units."""

import pytest
import torch

from experiments.evaluation.metrics import evaluate, explain, mean_residual, read
from experiments.models.classifiers import build, digits_resnet
from interpretable_sgd import analysis


@pytest.fixture
def model():
    net = build(digits_resnet, 1, 10, seed=0)
    with torch.no_grad():
        net.fc.weight[net.fc.weight.abs() < 0.05] = 0
    return net.train()


def data(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 8, 8, generator=generator), torch.arange(count) % 10


def test_numbers_are_those_of_literal_loops(model):
    validation, test = data(30, 0), data(40, 1)
    found = evaluate(model, validation, test)
    assert model.training
    model.eval()
    weight, bias = model.fc.weight.tolist(), model.fc.bias.tolist()
    kept = [sum(abs(w) >= 1e-3 for w in row) for row in weight]
    assert found["weights_per_class"] == sum(kept) / 10
    assert found["sparsity"] == pytest.approx(1 - sum(kept) / 640)
    with torch.no_grad():
        units, logits = model.units(test[0]).tolist(), model(test[0])
        held_out = (model(validation[0]).argmax(1) == validation[1]).double().mean().item()
    right = (logits.argmax(1) == test[1]).double().mean().item()
    assert (found["test_accuracy"], found["validation_accuracy"]) == (right, held_out)

    outside = []
    for row, c in zip(units, logits.argmax(1).tolist(), strict=True):
        sizes = sorted((abs(w * x) for w, x in zip(weight[c], row, strict=True)), reverse=True)
        outside.append(sum(sizes[5:]) / sum(sizes))
    assert found["residual_at_5"] == pytest.approx(sum(outside) / 40, abs=1e-6)

    curve = found["accuracy_at_weights"]
    assert curve["weights"][-1] == 64 and curve["accuracy"][-1] == right
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


def test_what_is_read_in_parts_is_what_the_net_makes_in_evaluation(model):
    images, _ = data(7, 2)
    units, logits = read(model, analysis.find_head(model), images, at_once=3)
    assert model.training
    with torch.no_grad():
        torch.testing.assert_close(units, model.eval().units(images))
        torch.testing.assert_close(logits, model(images))


def test_an_explanation_recomputes_the_logits(model):
    found = explain(model, data(3, 3)[0])
    logits = found["units"] @ found["weight"].T + found["bias"]
    torch.testing.assert_close(torch.tensor(logits), torch.tensor(found["logits"]))

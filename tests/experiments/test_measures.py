"""Measures against literal loops, and the identity that makes an explanation: parts add up."""

import pytest
import torch
from torch import nn

from experiments import measures
from experiments.models import build, digits_resnet


@pytest.fixture
def head():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 9, generator=generator)
    weight[weight.abs() < 0.5] = 0.0
    return weight, torch.randn(4, generator=generator), torch.rand(6, 9, generator=generator)


def test_weights_per_class_and_sparsity_count_at_the_threshold():
    weight = torch.tensor([[1e-3, -2.0, 0.0, 9e-4], [0.0, 0.0, 0.0, -1e-3]])
    assert measures.weights_per_class(weight) == 1.5
    assert measures.sparsity(weight) == 5 / 8


@pytest.mark.parametrize("k", [1, 5, 9])
def test_residual_against_a_literal_loop(head, k):
    weight, bias, units = head
    classes = (units @ weight.T + bias).argmax(1)
    shares = []
    for n, c in enumerate(classes):
        sizes = sorted((abs(float(weight[c, m] * units[n, m])) for m in range(9)), reverse=True)
        shares.append(sum(sizes[k:]) / sum(sizes))
    parts = measures.contributions(weight, units, classes)
    assert measures.residual(parts, k) == pytest.approx(sum(shares) / len(shares), abs=1e-7)


def test_residual_limits():
    few = torch.tensor([[3.0, 0.0, -2.0, 0.0, 0.0, 0.0, 1.0]])
    assert measures.residual(few, 5) == 0
    assert measures.residual(torch.zeros(2, 7), 5) == 0
    assert measures.residual(torch.ones(1, 10), 5) == pytest.approx(0.5)


def test_contributions_and_bias_add_up_to_the_logit(head):
    weight, bias, units = head
    logits = units @ weight.T + bias
    classes = logits.argmax(1)
    parts = measures.contributions(weight.double(), units.double(), classes)
    expected = logits.gather(1, classes[:, None])[:, 0].double()
    torch.testing.assert_close(parts.sum(1) + bias[classes], expected, rtol=1e-6, atol=1e-6)


def test_accuracy_with_all_weights_is_the_accuracy_and_with_none_the_largest_biass(head):
    weight, bias, units = head
    labels = torch.arange(6) % 4
    none, some, everything = measures.accuracy_at(weight, bias, units, labels, [0, 3, 9])
    assert everything == measures.test_accuracy(units @ weight.T + bias, labels)
    assert none == (labels == bias.argmax()).double().mean().item()
    kept = torch.zeros_like(weight)
    for c in range(4):
        for m in sorted(range(9), key=lambda m: -abs(float(weight[c, m])))[:3]:
            kept[c, m] = weight[c, m]
    assert some == measures.test_accuracy(units @ kept.T + bias, labels)


def test_units_are_read_in_evaluation_and_the_mode_is_restored():
    model = build(digits_resnet, 1, 10, seed=0).train()
    images = torch.rand(7, 1, 8, 8)
    units = measures.read_units(model, images, at_once=3)
    assert model.training
    with torch.no_grad():
        torch.testing.assert_close(units, model.eval().units(images))


def test_squared_gradient_norm_is_unbiased_where_one_batch_is_not():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(400, 3, generator=generator), torch.arange(400) % 2
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.randn(2, 3, generator=generator) / 3)
        model.bias.zero_()
    nn.functional.cross_entropy(model(images), labels).backward()
    truth = sum((p.grad.double() ** 2).sum().item() for p in model.parameters())
    estimates, naive = [], []
    for _ in range(400):
        order = torch.randint(400, (16,), generator=generator)
        halves = [(images[part], labels[part]) for part in order.split(8)]
        estimates.append(measures.squared_gradient_norm(model, *halves))
        naive.append(measures.squared_gradient_norm(model, halves[0], halves[0]))
    values = torch.tensor(estimates)
    error = (values.std() / 400**0.5).item()
    assert abs(values.mean().item() - truth) < 4 * error
    assert torch.tensor(naive).mean().item() > truth + 4 * error


def test_squared_gradient_norm_leaves_the_model_alone():
    model = build(digits_resnet, 1, 10, seed=0).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    images, labels = torch.rand(8, 1, 8, 8), torch.arange(8)
    measures.squared_gradient_norm(model, (images[:4], labels[:4]), (images[4:], labels[4:]))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())

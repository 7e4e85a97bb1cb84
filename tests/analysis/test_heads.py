"""Heads are found, and their terms are the logit: for every kind of head, class and image."""

import pytest
import torch
from torch import nn

from interpretable_sgd import DynamicConv2d, InterpretableSGD
from interpretable_sgd.analysis.forward import reading
from interpretable_sgd.analysis.head_search import find_head
from tests.analysis.classifiers import BUILD, CLASSES, SHAPE, UNITS, classifier, images

KINDS = {
    "linear": "linear",
    "at most 3": "routed linear",
    "convolution": "convolution",
    "routed convolution": "routed convolution",
}


def read_one(model, pixels):
    head = find_head(model)
    with reading(model, head) as read:
        output = model(pixels)
        units, logits = read.take()
    return head, units, logits, output


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", BUILD)
def test_parts_and_bias_add_up_to_every_logit(kind, dtype):
    model = classifier(kind).to(dtype)
    pixels = images(20, 20)[0][0].to(dtype)
    head, units, logits, output = read_one(model, pixels)
    assert torch.equal(logits, output)
    close = {"rtol": 0, "atol": 1e-12 if dtype == torch.float64 else 1e-6}
    torch.testing.assert_close(head.logits(units), output, **close)
    for c in range(CLASSES):
        parts, biases = head.terms(units, torch.full((20,), c))
        assert parts.shape == (20, UNITS)
        torch.testing.assert_close(parts.sum(1) + biases, output[:, c], **close)


@pytest.mark.parametrize("kind", ["at most 3", "exactly 9"])
def test_parts_of_a_routed_head_are_the_layers_own_routes(kind):
    model = classifier(kind)
    head, units, _, _ = read_one(model, images(20, 20)[0][0])
    routes = model[-1].routes(units)
    for c in range(CLASSES):
        expected = torch.zeros(20, UNITS + 1, dtype=torch.float64)
        expected.scatter_(1, routes.units[:, c] % (UNITS + 1), routes.contributions[:, c])
        assert torch.equal(head.parts(units, torch.full((20,), c)), expected[:, :UNITS])


def test_products_are_all_terms_and_parts_the_kept_ones():
    head, units, _, _ = read_one(classifier("at most 3"), images(20, 20)[0][0])
    classes = torch.arange(20) % CLASSES
    products, parts = head.products(units, classes), head.parts(units, classes)
    assert torch.equal(products, head.weight[classes] * units)
    assert ((parts == products) | (parts == 0)).all()
    assert ((parts != 0).sum(1) <= 3).all() and (products != 0).sum() > (parts != 0).sum()


def test_a_rectified_head_of_negative_evidence_adds_nothing():
    model = classifier("rectified convolution")
    nn.init.constant_(model[3].weight, -1.0)
    nn.init.constant_(model[3].bias, -0.1)
    head, units, logits, _ = read_one(model, images(4, 4)[0][0])
    parts, biases = head.terms(units, torch.zeros(4, dtype=torch.long))
    assert head.rectified and not logits.any() and not parts.any() and not biases.any()


@pytest.mark.parametrize(("build", "kind"), KINDS.items())
def test_kind_weight_and_bias(build, kind):
    model = classifier(build)
    head = find_head(model)
    assert head.kind == kind
    assert head.weight.shape == (CLASSES, UNITS) and not head.weight.requires_grad
    assert torch.equal(head.bias, dict(model.named_modules())[head.name].bias)


def test_bias_of_a_head_without_is_zero():
    assert torch.equal(
        find_head(classifier("linear without bias")).bias, torch.zeros(CLASSES).double()
    )


def test_a_head_that_reads_tokens_is_refused():
    model = nn.Linear(4, 2)
    with (
        pytest.raises(ValueError, match=r"head '' must read \(n, m\), got an input of \(2, 3, 4\)"),
        reading(model, find_head(model)),
    ):
        model(torch.rand(2, 3, 4))
    assert not model._forward_hooks


def test_a_head_trained_by_the_optimizer_is_read():
    """While the optimizer watches the layers that it routes."""
    model = classifier("linear").train()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    for pixels, labels in images(16, 8):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(pixels), labels).backward()
        optimizer.step()
    head, units, _, output = read_one(model.eval(), images(4, 4)[0][0])
    parts, biases = head.terms(units, output.argmax(1))
    torch.testing.assert_close(parts.sum(1) + biases, output.max(1).values)
    assert head.layer is model[-1]
    optimizer.detach()


def test_an_additive_convolution_is_read_as_means():
    model = classifier("convolution")
    _, units, _, _ = read_one(model, images(4, 4)[0][0])
    assert units.shape == (4, UNITS)
    routed, maps, _, _ = read_one(classifier("routed with stride"), images(4, 4)[0][0])
    assert maps.shape == (4, UNITS, 2, 2)
    assert torch.equal(routed.activations(maps), maps.mean((2, 3)))
    assert isinstance(routed.layer, DynamicConv2d) and SHAPE == (2, 6, 6)

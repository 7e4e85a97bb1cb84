"""One image explained: parts that add up."""

import pytest
import torch
from torch import nn

from interpretable_sgd.analysis import explain, find_head
from tests.analysis.classifiers import BUILD, classifier, images


@pytest.mark.parametrize("kind", BUILD)
def test_reasons_rest_and_bias_are_the_logit(kind):
    """The two largest logits, whatever the head; as many reasons as asked for, largest first."""
    model = classifier(kind)
    pixels, labels = images()[0]
    head = find_head(model)
    with torch.no_grad():
        largest = model(pixels).topk(2, dim=1)
    found = explain(
        model, pixels, labels.tolist(), head, top=3, picture=lambda image: image[:1].abs()
    )
    for n, image in enumerate(found):
        assert image.label == labels[n]
        for verdict, logit, c in zip(
            image.verdicts, largest.values[n], largest.indices[n], strict=True
        ):
            sizes = [abs(reason.contribution) for reason in verdict.reasons]
            assert len(sizes) <= 3 and sizes == sorted(sizes, reverse=True)
            total = sum(reason.contribution for reason in verdict.reasons)
            assert total + verdict.rest + verdict.bias == pytest.approx(float(logit), abs=1e-6)
            assert verdict.class_index == c


def test_maps_are_those_of_the_units():
    model = classifier("linear")
    pixels, labels = images()[0]
    found = explain(
        model, pixels, labels.tolist(), find_head(model), model[2], picture=lambda image: image[:1]
    )
    with torch.no_grad():
        maps = model[:3](pixels)
    for n, image in enumerate(found):
        for reason in image.verdicts[0].reasons:
            assert torch.equal(reason.map, maps[n, reason.unit].float())
    assert not any(module._forward_hooks for module in model.modules())


def test_residual_is_what_the_reasons_leave():
    model = classifier("linear")
    pixels, labels = images()[0]
    head = find_head(model)
    whole = explain(model, pixels, labels.tolist(), head, top=12, picture=lambda image: image[:1])
    few = explain(model, pixels, labels.tolist(), head, top=2, picture=lambda image: image[:1])
    for all_parts, two in zip(whole, few, strict=True):
        assert all_parts.verdicts[0].rest == 0 == all_parts.verdicts[0].residual
        parts = [reason.contribution for reason in all_parts.verdicts[0].reasons]
        expected = sum(parts[2:]) / sum(parts)
        assert two.verdicts[0].residual == pytest.approx(expected, abs=1e-9)


def test_top_must_be_positive():
    model = classifier("linear")
    pixels, labels = images()[0]
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        explain(model, pixels, labels.tolist(), find_head(model), top=0)


def test_one_class_has_no_runner_up():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    (found,) = explain(model, torch.rand(1, 1, 2, 2), [0], find_head(model))
    assert len(found.verdicts) == 1 and found.is_right

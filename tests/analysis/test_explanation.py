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
        for score, logit, c in zip(
            image.scores, largest.values[n], largest.indices[n], strict=True
        ):
            sizes = [abs(reason.contribution) for reason in score.reasons]
            assert len(sizes) <= 3 and sizes == sorted(sizes, reverse=True)
            total = sum(reason.contribution for reason in score.reasons)
            assert total + score.rest + score.bias == pytest.approx(float(logit), abs=1e-6)
            assert score.class_index == c


def test_maps_are_those_of_the_units():
    model = classifier("linear")
    pixels, labels = images()[0]
    found = explain(
        model, pixels, labels.tolist(), find_head(model), model[2], picture=lambda image: image[:1]
    )
    with torch.no_grad():
        maps = model[:3](pixels)
    for n, image in enumerate(found):
        for reason in image.predicted.reasons:
            assert torch.equal(reason.map, maps[n, reason.unit].float())
    assert not any(module._forward_hooks for module in model.modules())


def test_residual_is_what_the_reasons_leave():
    model = classifier("linear")
    pixels, labels = images()[0]
    head = find_head(model)
    whole = explain(model, pixels, labels.tolist(), head, top=12, picture=lambda image: image[:1])
    few = explain(model, pixels, labels.tolist(), head, top=2, picture=lambda image: image[:1])
    for all_parts, two in zip(whole, few, strict=True):
        assert all_parts.predicted.rest == 0 == all_parts.predicted.residual
        parts = [reason.contribution for reason in all_parts.predicted.reasons]
        expected = sum(parts[2:]) / sum(parts)
        assert two.predicted.residual == pytest.approx(expected, abs=1e-9)


def test_top_must_be_positive():
    model = classifier("linear")
    pixels, labels = images()[0]
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        explain(model, pixels, labels.tolist(), find_head(model), top=0)


def test_names_of_layers_do_as_the_layers_themselves():
    model = classifier("linear")
    pixels, labels = images()[0]
    by_name = explain(model, pixels, labels, "5", "2", picture=None)
    found = explain(model, pixels, picture=None)
    for one, other in zip(by_name, found, strict=True):
        assert str(one.predicted) == str(other.predicted)
        assert torch.equal(one.predicted.reasons[0].map, other.predicted.reasons[0].map)
        assert other.label is None and other.is_right is None and one.picture is None
    with pytest.raises(ValueError, match="layer must be a module of the model or its dotted name"):
        explain(model, pixels, layer="nowhere")


def test_a_head_that_makes_something_else_is_refused():
    """An auxiliary head would be explained in place of what the model returns."""
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3)).double()
    with pytest.raises(ValueError, match="the model's output is not that of head '0'"):
        explain(model, torch.rand(5, 4).double(), head="0")


@pytest.mark.parametrize("kind", BUILD)
def test_the_margin_is_the_sum_of_what_separates_winner_and_runner_up(kind):
    model = classifier(kind)
    pixels, _ = images()[0]
    head = find_head(model)
    for image in explain(model, pixels, top=12, picture=None):
        winner, other = image.scores
        assert image.margin.total == pytest.approx(winner.logit - other.logit)
        terms = dict(image.margin.terms())
        assert sum(terms.values()) == pytest.approx(image.margin.total, abs=1e-9)
        parts = [dict(score.terms()) for score in image.scores]
        for name in terms:
            apart = parts[0].get(name, 0.0) - parts[1].get(name, 0.0)
            assert terms[name] == pytest.approx(apart, abs=1e-9)
    assert head.name


def test_one_output_explains_its_sigmoid():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1)).double()
    x = torch.randn(6, 1, 2, 2).double()
    z = model(x)[:, 0].detach()
    for n, image in enumerate(explain(model, x, [0.0, 1.0] * 3, class_names=["ill"])):
        assert image.predicted.name == ("ill" if z[n] > 0 else "not ill")
        assert image.predicted.probability == pytest.approx(float(z[n].abs().sigmoid()))
        assert image.predicted.logit == pytest.approx(float(z[n].abs()))
        assert image.margin.total == image.predicted.logit  # the odds are exp(z), not exp(2 z)
        assert image.is_right == ((z[n] > 0) == (n % 2 == 1))


def test_text_and_tables_say_names_and_escape_them():
    model = nn.Linear(3, 2).double()
    x = torch.tensor([[1.0, 0.0, 2.0]]).double()
    (image,) = explain(
        model, x, [1], class_names=["<cat>", "dog"], input_names=["age", "height", "<b>"]
    )
    said = str(image)
    assert "true: dog" in said and "age" in said and "bias" in said and "probability" in said
    assert image.words == "<b> 2, age 1"
    assert (
        "<b>" not in image._repr_html_().replace("<b>dog</b>", "")
        and "&lt;cat&gt;" in image._repr_html_()
    )
    assert len(repr(image)) < 100 and "tensor" not in repr(image)


def test_tokens_in_a_mapping_with_a_vocabulary():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.fc = nn.EmbeddingBag(5, 4), nn.Linear(4, 3)

        def forward(self, ids, weights=None):
            return {"logits": self.fc(self.embed(ids))}

    ids = torch.tensor([[0, 1], [4, 2]])
    found = explain(Bag(), {"ids": ids}, [0, 1], input_names=list("abcde"))
    assert [image.words for image in found] == ["a b", "e c"]
    assert all(image.picture is None for image in found)


def test_labels_as_many_as_inputs():
    with pytest.raises(ValueError, match="labels must be 2, one per image, got 1"):
        explain(nn.Linear(3, 2), torch.rand(2, 3), [0])

"""The same units again: limits, known permutations, and what chance gives."""

import dataclasses

import pytest
import torch
from torch import nn

from interpretable_sgd.analysis.decisions import decide
from interpretable_sgd.analysis.stability import (
    across_seeds,
    jaccard,
    match_units,
    under_augmentation,
)
from tests.analysis.classifiers import BUILD, UNITS, classifier, images, outputs


def network(seed: int, units: int = 40) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(10, units), nn.ReLU(), nn.Linear(units, 4)).double()


def points(count: int = 200) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(count, 10, generator=generator, dtype=torch.float64)
    return [(x[:120], torch.zeros(120).long()), (x[120:], torch.ones(count - 120).long())]


def permuted(model: nn.Sequential, order: torch.Tensor) -> nn.Sequential:
    """The same function with its units in another order."""
    twin = network(0, len(order))
    twin[0].weight.data, twin[0].bias.data = model[0].weight[order].data, model[0].bias[order].data
    twin[2].weight.data, twin[2].bias.data = model[2].weight[:, order].data, model[2].bias.data
    return twin


def test_jaccard_is_that_of_sets():
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randperm(9, generator=generator)[:4] for _ in range(60)]
    first, second = torch.stack(rows[:30]), torch.stack(rows[30:])
    first[::3, 2:] = -1
    second[::4, 1:] = -1
    found = jaccard(first, second)
    for n in range(30):
        a, b = ({m for m in row.tolist() if m >= 0} for row in (first[n], second[n]))
        assert found[n].item() == pytest.approx(len(a & b) / len(a | b))


def test_jaccard_of_empty_sets():
    empty, full = torch.tensor([[-1, -1]]), torch.tensor([[0, 1]])
    assert jaccard(empty, empty).isnan().all()
    assert jaccard(empty, full).item() == 0 and jaccard(full, full.flip(1)).item() == 1


@pytest.mark.parametrize("kind", BUILD)
def test_no_change_of_the_image_changes_nothing(kind):
    found = under_augmentation(classifier(kind), images(), lambda pixels: pixels.clone(), repeats=2)
    assert found.jaccard.shape == found.same_class.shape == (30, 2)
    assert found.same_class.all()
    assert (found.jaccard[~found.jaccard.isnan()] == 1).all()


def test_units_are_compared_for_the_class_of_the_unchanged_image():
    model, data = network(0), points()
    found = under_augmentation(model, data, lambda x: x.flip(1), k=5)
    x = torch.cat([x for x, _ in data])
    classes = model(x).argmax(1)
    for n in range(0, 200, 20):
        named = []
        for image in (x[n], x[n].flip(0)):
            parts = model[2].weight[classes[n]] * model[1](model[0](image))
            named.append({m for m in parts.abs().argsort(descending=True)[:5].tolist() if parts[m]})
        assert found.jaccard[n, 0].item() == pytest.approx(
            len(named[0] & named[1]) / len(named[0] | named[1])
        )
    assert torch.equal(found.same_class[:, 0], classes == model(x.flip(1)).argmax(1))
    assert not found.same_class.all()


def test_stability_takes_images_alone_and_leaves_the_model_as_it_was():
    model, done = classifier("linear").train(), []
    only = [pixels for pixels, _ in images()]
    found = under_augmentation(model, only, lambda pixels: pixels.flip(-1), report=done.append)
    assert len(found.jaccard) == 30 and done == [8, 16, 24, 30]
    assert model.training and not any(module._forward_hooks for module in model.modules())


def test_units_of_a_permuted_network_are_matched_and_decide_alike():
    first = network(1)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    second = permuted(first, order)
    torch.testing.assert_close(outputs(first, points()), outputs(second, points()))
    a, b = decide(first, points()), decide(second, points())
    found = across_seeds(a, b, generator=torch.Generator().manual_seed(3))
    alive = a.activity > 0
    assert torch.equal(order[found.matching.partner][alive], torch.arange(40)[alive])
    torch.testing.assert_close(found.matching.correlation[alive], torch.ones(int(alive.sum())))
    assert found.same_class.all() and (found.jaccard == 1).all()
    assert (found.class_jaccard == 1).all()
    # 5 of 40 by chance: 5/8 units in common on average, of 10 - 5/8
    assert found.chance < 0.2


def test_unrelated_networks_share_little_more_than_chance():
    """Means over images of one pair of networks: no error is claimed, the gap to 1 is wide."""
    a, b = decide(network(1), points()), decide(network(2), points())
    found = across_seeds(a, b, generator=torch.Generator().manual_seed(3))
    assert found.jaccard.nanmean() < 0.5
    assert found.jaccard[~found.same_class].isnan().all() and not found.same_class.all()


def test_matching_of_different_widths_leaves_units_alone():
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    found = match_units(x, x[:, [3, 4]])
    assert found.partner.tolist() == [-1, -1, -1, 0, 1]
    assert found.correlation[[3, 4]].tolist() == pytest.approx([1, 1])
    assert found.correlation[[0, 1, 2]].isnan().all()
    assert found.translate(torch.tensor([[3, 0, -1]])).tolist() == [[0, -1, -1]]


def test_dead_units_correlate_with_nothing():
    x = torch.rand(30, 3)
    x[:, 1] = 2
    found = match_units(x, x)
    assert found.partner[1] == 1 and found.correlation[1] == 0


def test_arguments_are_checked():
    model = classifier("linear")
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        under_augmentation(model, images(), torch.clone, k=0)
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        under_augmentation(model, images(), torch.clone, repeats=0)
    with pytest.raises(ValueError, match="augment must give 8 images for as many, got 1"):
        under_augmentation(model, images(), lambda pixels: pixels[:1])
    with pytest.raises(ValueError, match="loader must give at least one image, got none"):
        under_augmentation(model, [], torch.clone)
    with pytest.raises(TypeError, match="loader must give images as a tensor, got str"):
        under_augmentation(model, ["a.png"], torch.clone)
    with pytest.raises(ValueError, match=r"same images, at least 2, got \(3, 2\) and \(4, 2\)"):
        match_units(torch.rand(3, 2), torch.rand(4, 2))
    decisions = decide(model, images())
    with pytest.raises(ValueError, match=r"k must be in 1 \.\. 10, the contributions kept, got 11"):
        across_seeds(decisions, decisions, k=11)
    other = dataclasses.replace(decisions, hashes=decisions.hashes + 1)
    with pytest.raises(ValueError, match="decisions must be of the same images"):
        across_seeds(decisions, other)
    assert decisions.weight.shape[1] == UNITS

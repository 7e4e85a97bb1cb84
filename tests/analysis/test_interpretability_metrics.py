"""Figures of peers against their definitions in loops, and where they must be 0 or 1."""

import math

import pytest
import torch
from sklearn.mixture import GaussianMixture

from interpretable_sgd.analysis.interpretability_metrics import (
    accuracy_at,
    class_independence,
    contrastiveness,
    dependence,
    diversity,
    pruned,
    snapped,
)
from interpretable_sgd.analysis.mixtures import overlaps


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def class_figures(units, labels, classes):
    """What a pass adds up."""
    means = torch.stack([units[labels == c].mean(0) for c in range(classes)])
    return means, torch.bincount(labels, minlength=classes), units.min(0).values


def test_dependence_of_one_of_even_and_of_no_contributions():
    parts = torch.tensor([[0.0, -3.0, 0.0, 0.0], [1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]])
    found = dependence(parts)
    assert found[:2].tolist() == [1, 0.25] and found[2].isnan()


def test_class_independence_of_a_literal_loop(generator):
    units = torch.rand(60, 7, generator=generator, dtype=torch.float64) + 2
    labels = torch.randint(4, (60,), generator=generator)
    shares = []
    for m in range(7):
        raised = [float(value) - float(units[:, m].min()) for value in units[:, m]]
        by_class = [
            sum(value for value, label in zip(raised, labels, strict=True) if label == c)
            for c in range(4)
        ]
        shares.append(max(by_class) / sum(raised))
    expected = 1 - sum(shares) / len(shares)
    assert class_independence(*class_figures(units, labels, 4)) == pytest.approx(expected)


def test_class_detectors_are_fully_dependent_and_even_units_independent():
    labels = torch.arange(30) % 3
    detectors = torch.nn.functional.one_hot(labels, 3).double()
    assert class_independence(*class_figures(detectors, labels, 3)) == pytest.approx(0)
    # every class has the same share of an even unit
    even = (torch.arange(30) // 3 % 2).double()[:, None]
    assert class_independence(*class_figures(even, labels, 3)) == pytest.approx(2 / 3)


def test_class_independence_leaves_out_units_that_never_change_and_classes_without_images():
    means = torch.tensor([[1.0, 4.0], [3.0, 4.0], [torch.nan, torch.nan]])
    counts = torch.tensor([5, 5, 0])
    assert class_independence(means, counts, torch.tensor([0.0, 4.0])) == pytest.approx(0.25)
    constant = class_independence(means[:, 1:], counts, torch.tensor([4.0]))
    assert math.isnan(constant)


def test_contrastiveness_tells_switches_from_graded_units(generator):
    noise = torch.randn(1000, 3, generator=generator)
    switched = noise / 20 + (torch.arange(1000) % 4 == 0).float()[:, None]
    assert contrastiveness(switched) > 0.999
    assert contrastiveness(noise) < 0.8
    assert contrastiveness(torch.ones(10, 2)) == pytest.approx(0)
    assert contrastiveness(switched * 1e4 - 7) == pytest.approx(contrastiveness(switched))


def test_overlaps_are_those_of_scikit_learns_mixtures(generator):
    """Where two components can be told apart, both fits find the same ones."""
    centres = torch.tensor([3.0, 4.0, 6.0])
    units = torch.randn(2000, 3, generator=generator, dtype=torch.float64)
    units[::3] = units[::3] * 0.7 + centres
    found = overlaps(units)
    for m in range(3):
        mixture = GaussianMixture(2, random_state=0, tol=1e-6, max_iter=500)
        mixture.fit(units[:, m : m + 1].numpy())
        (a, b), (s, t) = mixture.means_[:, 0], mixture.covariances_[:, 0, 0] ** 0.5
        x = torch.linspace(-10, 20, 100_001, dtype=torch.float64)
        densities = [torch.distributions.Normal(*p).log_prob(x).exp() for p in ((a, s), (b, t))]
        expected = torch.trapezoid(torch.minimum(*densities), x)
        assert found[m].item() == pytest.approx(expected.item(), abs=0.005)


def test_diversity_of_apart_of_equal_and_of_flat_maps():
    apart = torch.eye(4).view(1, 4, 2, 2)
    weight, classes = torch.ones(1, 4), torch.tensor([0])
    assert diversity(apart, weight, classes, k=4).item() == 1
    assert diversity(apart[:, :1].expand(1, 4, 2, 2), weight, classes, k=4).item() == 0.25
    assert diversity(torch.zeros(1, 4, 2, 2), weight, classes, k=4).item() == 0.25
    assert diversity(torch.zeros(1, 4, 2, 2), weight, classes, 4, "softmax").item() == 0.25


@pytest.mark.parametrize("scale", ["softmax", "sum"])
def test_diversity_of_a_literal_loop(generator, scale):
    maps = torch.rand(5, 6, 3, 2, generator=generator, dtype=torch.float64)
    weight = torch.rand(4, 6, generator=generator, dtype=torch.float64)
    classes = torch.tensor([0, 3, 1, 2, 0])
    found = diversity(maps, weight, classes, 3, scale)
    for n, c in enumerate(classes.tolist()):
        chosen = sorted(range(6), key=lambda m: -float(weight[c, m]))[:3]
        spread = []
        for m in chosen:
            values = maps[n, m].flatten().tolist()
            if scale == "softmax":
                values = [math.exp(value) for value in values]
            else:
                values = [value - min(values) for value in values]
            spread.append([value / sum(values) for value in values])
        expected = sum(max(column) for column in zip(*spread, strict=True)) / 3
        assert found[n].item() == pytest.approx(expected)


def test_diversity_by_sums_does_not_see_the_scale_and_softmax_does(generator):
    maps = torch.rand(2, 3, 4, 4, generator=generator)
    arguments = torch.ones(1, 3), torch.tensor([0, 0]), 3
    torch.testing.assert_close(diversity(maps, *arguments), diversity(9 * maps, *arguments))
    low, high = (diversity(size * maps, *arguments, "softmax") for size in (1, 9))
    assert (high > low + 0.1).all()


def test_diversity_leaves_out_classes_of_too_few_weights():
    weight = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, -1.0]])
    found = diversity(torch.rand(2, 3, 2, 2), weight, torch.tensor([0, 1]), k=3)
    assert found.isnan().all()
    assert not diversity(torch.rand(1, 3, 2, 2), weight, torch.tensor([0]), k=2).isnan().any()


def test_snapped_rows_vote_with_one_size_and_keep_signs_and_sums(generator):
    weight = torch.randn(5, 8, generator=generator)
    weight[weight.abs() < 0.5] = 0
    votes = snapped(weight)
    assert torch.equal(votes.sign(), weight.sign())
    assert torch.allclose(votes.abs().sum(1), weight.abs().sum(1))
    for row in votes:
        assert row[row != 0].abs().max() - row[row != 0].abs().min() < 1e-6
    assert torch.allclose(snapped(votes), votes)


def test_pruned_keeps_the_largest_over_all_or_in_each_row(generator):
    weight = torch.randn(5, 8, generator=generator)
    assert torch.equal(pruned(weight, 8), weight)
    assert not pruned(weight, 0).any()
    for per_class in (False, True):
        kept = pruned(weight, 3, per_class)
        assert (kept != 0).sum() == 15 and ((kept == weight) | (kept == 0)).all()
        rows = range(5) if per_class else [slice(None)]
        for row in rows:
            left, out = weight[row][kept[row] != 0], weight[row][kept[row] == 0]
            assert left.abs().min() > out.abs().max()
    assert (pruned(weight, 3, True) != 0).sum(1).tolist() == [3] * 5


def test_accuracy_with_all_weights_and_with_none(generator):
    weight, bias = torch.randn(4, 9, generator=generator), torch.randn(4, generator=generator)
    units, labels = torch.rand(50, 9, generator=generator), torch.arange(50) % 4
    none, everything = accuracy_at(weight, bias, units, labels, [0, 9])
    whole = (units @ weight.T + bias).argmax(1)
    assert everything == (whole == labels).double().mean().item()
    assert none == (labels == bias.argmax()).double().mean().item()


def test_arguments_are_checked():
    maps, weight, classes = torch.rand(1, 3, 2, 2), torch.ones(2, 3), torch.tensor([0])
    with pytest.raises(
        ValueError, match=r"maps must be \(n, 3, h, w\), one per unit, got \(1, 2, 2, 2\)"
    ):
        diversity(maps[:, :2], weight, classes)
    with pytest.raises(ValueError, match=r"k must be in 1 \.\. 3, the number of units, got 5"):
        diversity(maps, weight, classes)
    with pytest.raises(ValueError, match=r"scale must be one of .*, got 'max'"):
        diversity(maps, weight, classes, 2, "max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"count must be in 0 \.\. 3, the number of units, got 4"):
        pruned(weight, 4)
    with pytest.raises(
        ValueError, match=r"units must be \(n, m\) of at least 2 images, got \(1, 4\)"
    ):
        contrastiveness(torch.rand(1, 4))

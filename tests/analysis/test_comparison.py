"""Two models side by side: known permutations, known edits, and outcomes counted by hand."""

import dataclasses

import pytest
import torch
from torch import nn

from interpretable_sgd.analysis.comparison import compare
from interpretable_sgd.analysis.editor import edit


def network(seed: int = 0, units: int = 10) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, units), nn.ReLU(), nn.Linear(units, 3)).double()


def points(count: int = 300) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 6, generator=generator, dtype=torch.float64)
    return list(zip(x.split(100), (torch.arange(count) % 3).split(100), strict=True))


def test_a_network_is_itself_in_another_order():
    first, second, order = network(), network(), torch.randperm(10)
    second[0].weight.data, second[0].bias.data = (
        first[0].weight[order].data,
        first[0].bias[order].data,
    )
    second[2].weight.data = first[2].weight[:, order].data
    found = compare(first, second, points(), top=10)
    assert len(found.different) == 0 and found.same_units == 10
    assert found.difference == (0, 0, 0)
    for diff in found.classes:
        assert len(diff.terms) == 10 and diff.others == (0, 0)
        for term in diff.terms:
            m, p = term.units
            assert order[p] == m and term.read_by == "both"
            assert term.weights[0] == pytest.approx(term.weights[1])


def test_an_edit_is_the_diff():
    model, data = network(), points()
    editor = edit(model, data).disable(4, in_class=1)
    twin = network()
    with editor.applied() as edited:
        twin.load_state_dict(edited.state_dict())
    found = compare(model, twin, data, names=("before", "after"), top=10)
    only = [
        (d.index, t.units, t.read_by) for d in found.classes for t in d.terms if t.read_by != "both"
    ]
    assert only == [(1, (4, 4), "first")]
    assert found.different.tolist() == editor.effect().flipped.tolist()
    assert found.accuracy == pytest.approx(
        (editor.effect().before.overall, editor.effect().after.overall)
    )


def test_outcomes_are_counted():
    first, second, data = network(0), network(3), points()
    found = compare(first, second, data)
    x, labels = (torch.cat(part) for part in zip(*data, strict=True))
    right = [model(x).argmax(1) == labels for model in (first, second)]
    for i in (0, 1):
        for j in (0, 1):
            assert found.outcomes[i, j] == ((right[0] == i) & (right[1] == j)).sum()
    assert found.accuracy[1] - found.accuracy[0] == pytest.approx(found.difference[0])
    assert torch.equal(found.different, (first(x).argmax(1) != second(x).argmax(1)).nonzero()[:, 0])
    for c, diff in enumerate(found.classes):
        own = first(x)[labels == c].argmax(1) == c
        assert diff.accuracy[0] == pytest.approx(float(own.double().mean()))


def test_the_interval_covers_the_difference_that_is():
    """200 draws of 400 paired outcomes: coverage of 95 % within 3 standard errors of 1.5 points."""
    found = compare(network(0), network(3), points())
    generator = torch.Generator().manual_seed(0)
    shares, covered = torch.tensor([0.2, 0.15, 0.1, 0.55]), 0
    for _ in range(200):
        drawn = shares.multinomial(400, replacement=True, generator=generator)
        outcomes = torch.bincount(drawn, minlength=4).view(2, 2)
        _, low, high = dataclasses.replace(found, outcomes=outcomes).difference
        covered += low <= 0.05 <= high
    assert covered / 200 >= 0.95 - 3 * (0.95 * 0.05 / 200) ** 0.5


def test_units_unlike_any_other_are_of_their_own():
    found = compare(network(0, 4), network(5, 12), points(), top=12)
    assert len(found.stability.matching.partner) == 4
    own = [t for d in found.classes for t in d.terms if t.units[0] is None]
    assert own and all(t.read_by == "second" and t.correlation is None for t in own)
    assert all(" of its own" in t.name for t in own)


def test_the_largest_terms_of_either_are_shown():
    found = compare(network(0), network(3), points(), top=2)
    for diff in found.classes:
        assert 2 <= len(diff.terms) <= 4
        reads = [sum(abs(t.weights[i]) >= 1e-3 for t in diff.terms) for i in (0, 1)]
        assert [reads[i] + diff.others[i] for i in (0, 1)] == [10, 10]


def test_as_text():
    found = compare(
        network(0), network(3), points(), names=("dense", "ours"), class_names=["<a>", "b", "c"]
    )
    assert repr(found).startswith("Comparison('dense', 'ours', 300 images, ")
    assert "dense is right on" in str(found) and "95 % interval" in str(found)
    assert "- dense, + ours" in str(found) and "<a>" in str(found)
    assert "&lt;a&gt;" in found._repr_html_() and "<a>" not in found._repr_html_()
    assert len(found.to_table().rows) == sum(len(d.terms) for d in found.classes)


def test_what_cannot_be_compared_is_refused():
    other = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 5)).double()
    with pytest.raises(ValueError, match="second must tell the 3 classes of the first apart, it"):
        compare(network(), other, points())
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        compare(network(), network(), points(), top=0)
    with pytest.raises(ValueError, match="unit_names must be 10 names, got 1"):
        compare(network(), network(), points(), unit_names=["a"])

"""Sparse heads on frozen units: they find the units that matter, and undo the penalty's shrinking."""

import pytest
import torch
from torch import nn

from experiments.evaluation import sparse_heads as module
from experiments.evaluation.metrics import Outputs
from experiments.evaluation.sparse_heads import (
    STRENGTHS,
    PostHoc,
    glm_saga_path,
    head_records,
    heads_on_path,
    l1_path,
    l1_path_by_gradients,
    refitted,
    sparse_heads,
)
from interpretable_sgd import analysis


def outputs(n, seed, turns=3):
    """What a network says of images, whose labels are `turns` classes."""
    units, labels = split(n, seed)
    return Outputs(units, torch.zeros(n, 3), labels % turns)


def head():
    """Of three classes over twenty units."""
    return analysis.find_head(nn.Sequential(nn.Identity(), nn.Linear(20, 3)))


def split(n, seed):
    """Three classes, each shown by one of twenty units, the others noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    units = torch.rand(n, 20, generator=generator)
    units[torch.arange(n), labels] += 1
    return units, labels


def test_the_path_goes_from_few_weights_to_many_and_finds_the_units():
    heads = sparse_heads(head(), outputs(600, 0), outputs(200, 1), PostHoc())
    found = head_records(heads, outputs(200, 2), outputs(200, 1))
    assert [entry["name"] for entry in found] == [f"L1 {s:g}" for s in STRENGTHS]
    weights = [entry["weights"] for entry in found]
    assert weights == sorted(weights) and {entry["solver"] for entry in found} == {"saga"}
    assert max(entry["accuracy"] for entry in found) == 1
    weight, _ = l1_path(*split(600, 0))[0]
    own = weight[:, :3].diagonal()
    assert (weight[:, 3:].abs() < own[:, None]).all()


def test_points_of_a_path_are_cut_to_the_largest_weights_of_each_class_and_fitted_again():
    """In the units' own scale: a unit a thousand times larger has a weight a thousandth as large, which goes first."""
    units, labels = split(600, 0)
    whole = heads_on_path((units, labels), split(200, 1))
    cut = heads_on_path((units, labels), split(200, 1), at_most=(2,))
    both = heads_on_path((units, labels), split(200, 1), at_most=(None, 2))
    for (found, _), (wanted, _) in zip(both, whole + cut, strict=True):
        assert torch.equal(found, wanted)
    for (weight, _), (kept, _) in zip(whole, cut, strict=True):
        assert ((kept != 0).sum(1) <= 2).all() and ((kept != 0) <= (weight != 0)).all()
    assert (cut[-1][0] != 0).sum() == 6 < (whole[-1][0] != 0).sum()
    grown = units * torch.where(torch.arange(20) == 0, 1e3, 1.0)
    assert (whole[-1][0][0, 0] != 0) and cut[-1][0][0, 0] != 0
    validation = split(200, 1)
    validation = (validation[0] * torch.where(torch.arange(20) == 0, 1e3, 1.0), validation[1])
    assert heads_on_path((grown, labels), validation, at_most=(2,))[-1][0][0, 0] == 0


def test_refitting_keeps_the_connections_and_lowers_the_loss():
    units, labels = split(300, 0)
    weight, bias = l1_path(units, labels)[1]
    again, bias_again = refitted(weight, bias, units, labels)
    assert ((again != 0) <= (weight != 0)).all()

    def objective(weight, bias):
        loss = nn.functional.cross_entropy(units @ weight.T + bias, labels)
        return float(loss + 5e-4 / 2 * weight.square().sum())

    assert objective(again, bias_again) < objective(weight, bias)
    assert float(again.abs().max()) > float(weight.abs().max())


def test_gradients_find_the_optimum_that_saga_finds():
    """At the optimum of the first two strengths no zero weight pulls harder than the penalty."""
    units, labels = split(600, 0)
    strengths = STRENGTHS[:2]
    both = l1_path(units, labels, strengths), l1_path_by_gradients(units, labels, strengths, 1000)
    for strength, (weight, bias), (again, bias_again) in zip(strengths, *both, strict=True):

        def objective(w, b, strength=strength):
            loss = nn.functional.cross_entropy(units @ w.T + b, labels)
            return float(loss + strength * w.abs().sum())

        assert objective(again, bias_again) <= objective(weight, bias) + 1e-6
        slope = (
            (units @ again.T + bias_again).softmax(1) - nn.functional.one_hot(labels)
        ).T @ units
        assert float(slope[again == 0].abs().max()) / len(units) <= strength * 1.001


def test_validation_images_choose_between_the_two(monkeypatch):
    monkeypatch.setattr(
        "experiments.evaluation.sparse_heads.refitted", lambda weight, bias, *data: (-weight, bias)
    )
    heads = sparse_heads(head(), outputs(600, 0), outputs(200, 1), PostHoc())
    assert head_records(heads, outputs(200, 2), outputs(200, 1))[-1]["accuracy"] == pytest.approx(1)


def test_heads_may_be_cut_too_and_the_trained_one_with_them():
    heads = sparse_heads(head(), outputs(600, 0), outputs(200, 1), PostHoc((0.02,), cut=2))
    names = [(each.solver, each.name) for each in heads]
    assert names == [
        ("saga", "L1 0.02"),
        ("saga", "L1 0.02, cut to 2, refitted"),
        ("cut", "cut to 2, refitted"),
    ]
    assert all(((each.weight != 0).sum(1) <= 2).all() for each in heads[1:])


@pytest.mark.parametrize(("many", "fitter"), [(16, "l1_path_by_gradients"), (64, "l1_path")])
def test_the_path_of_a_wide_net_is_fitted_by_gradients(many, fitter, monkeypatch):
    asked = []

    def fitted(units, labels, strengths):
        asked.append(strengths)
        return l1_path_by_gradients(units, labels, strengths)

    monkeypatch.setattr(module, "MANY", many)
    monkeypatch.setattr(module, fitter, fitted)
    sparse_heads(head(), outputs(60, 0), outputs(60, 1), PostHoc((0.02,), cut=2))
    assert asked == [(0.02,)]  # once, for the path and for its points cut


def test_training_images_must_show_every_class():
    with pytest.raises(ValueError, match=r"train must show every class, got none of \[2\]"):
        sparse_heads(head(), outputs(60, 0, turns=2), outputs(60, 1), PostHoc())


@pytest.mark.slow
def test_glm_saga_goes_from_nothing_to_the_units_that_matter():
    pytest.importorskip("glm_saga", reason="the extra `peers` brings it")
    pytest.importorskip("tqdm", reason="the extra `peers` brings it")
    units, labels = split(240, 0)
    path = glm_saga_path(units, labels)
    counts = [int((weight.abs() > 1e-3).sum()) for weight, _ in path]
    assert len(path) == 20 and counts[0] <= 3 and counts[-1] > counts[0]
    weight, bias = path[len(path) // 2]
    assert (units @ weight.T + bias).argmax(1).eq(labels).double().mean() > 0.95
    assert weight.argmax(1).tolist() == [0, 1, 2]

"""The real suite: what is planned and chosen from, and tables of records made by hand."""

import pytest

from experiments.methods import DENSE, OURS, RANDOM_UNITS
from experiments.research import real, real_tables
from experiments.research.tables import CUT, POST_HOC
from experiments.run import Protocol
from tests.experiments.paper.records import run


@pytest.mark.parametrize("scale, seeds, sets", [("tiny", 1, 3), ("small", 5, 5)])
def test_every_set_is_trained_in_every_way_with_the_same_seeds(scale, seeds, sets):
    """At tiny those that no network encodes first, so that all of tiny stays minutes."""
    runs = real.grid(scale)
    assert len(set(runs)) == len(runs) == sets * len(real.methods("letters")) * seeds
    assert {run.protocol.split for run in runs} == {"test"}
    assert all((run.method.name == DENSE.name) == bool(run.protocol.post_hoc) for run in runs)


@pytest.mark.parametrize("data", real.MODELS)
def test_choices_see_validation_samples_of_one_seed_alone(data):
    runs = real.choices(data)
    assert len(set(runs)) == len(runs) and {run.seed for run in runs} == {0}
    assert all(run.protocol == Protocol("validation") for run in runs)
    tried = {
        (run.recipe.lr, run.recipe.warmup) for run in runs if run.method.name.startswith("SGD,")
    }
    ours = {
        (run.recipe.lr, run.recipe.warmup) for run in runs if run.method.name.startswith(OURS.name)
    }
    assert len(tried) == 4 and tried == ours, "both sides choose from the same grid"


def test_what_was_chosen_is_what_is_trained(monkeypatch):
    chosen = {
        "SGD": {"lr": 0.3},
        "InterpretableSGD": {"lr": 0.4, "warmup": 0.15},
        "SGD with L1": {"l1": 0.02},
    }
    monkeypatch.setitem(real.CHOSEN, "letters", chosen)
    recipes = {r.method.name: r for r in real.grid("small", [0]) if r.data == "letters"}
    assert recipes["SGD"].recipe.lr == recipes["Dynamic-5"].recipe.lr == 0.3
    assert recipes["SGD with L1"].recipe.lr == 0.3 and recipes["SGD with L1"].method.l1 == 0.02
    assert recipes[OURS.name].recipe.warmup == recipes[RANDOM_UNITS.name].recipe.warmup == 0.15


def heads(accuracy):
    names = (("L1 a", 4.0), ("L1 b", 6.0), (f"L1 a, {CUT}", 4.0), (CUT, 5.0))
    return [
        {
            "solver": "saga",
            "name": n,
            "weights": w,
            "accuracy": accuracy,
            "validation_accuracy": 0.5,
        }
        for n, w in names
    ]


def test_tables_pair_by_seed_and_a_set_counts_once():
    stored = []
    for data, dense, ours in (
        ("letters", (0.90, 0.92), (0.91, 0.93)),
        ("satellite", (0.8,), (0.77,)),
    ):
        for seed, (one, other) in enumerate(zip(dense, ours, strict=True)):
            same = {"data": data, "seed": seed, "model": real.NAME, "reach_95": 3.5}
            stored.append(run("SGD", accuracy=one, sparse_heads=heads(one - 0.02), **same))
            stored.append(run(OURS.name, accuracy=other, weights_per_class=4.5, **same))
    planned = real.grid("tiny", [0, 1])
    letters, satellite, means = real_tables.real(stored, planned)
    row = {cells[0]: cells for cells in letters.rows}
    assert row["SGD"][1:4] == ("2", "91.0 ± 1.4", "—")
    assert row[OURS.name][3:6] == ("+1.0 +- 0.0", "+3.0 +- 0.0", "4.5 ± 0.0")
    assert row[OURS.name][7] == "3.5 ± 0.0" and row[POST_HOC][3] == "-2.0 +- 0.0"
    assert satellite.rows[0][1] == "1"
    mean = {cells[0]: cells for cells in means.rows}
    assert mean[OURS.name] == (OURS.name, "2", "-1.0", "-3.0", "+1.0")


def test_seeds_that_are_not_planned_are_not_shown():
    same = {"data": "letters", "model": real.NAME}
    stored = [run("SGD", seed=seed, sparse_heads=heads(0.5), **same) for seed in (0, 9)]
    table, _ = real_tables.real(stored, real.grid("tiny", [0]))
    assert table.rows[0][1] == "1"

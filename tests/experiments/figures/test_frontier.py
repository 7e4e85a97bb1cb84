"""Accuracy against weights per class: one family a method, the paper's points on its own data alone."""

import pytest

from experiments.figures.frontier import FAMILIES, frontier, heads, paper, points
from experiments.figures.series import MissingRuns
from tests.experiments.figures.stored_runs import run, written

DATA = "scenes:size=24,classes=4"


def test_plotted_numbers_are_the_stored_ones(tmp_path):
    fitted = [
        {"solver": "saga", "weights": weights, "accuracy": accuracy}
        for weights, accuracy in ((2.0, 0.5), (3.5, 0.75))
    ]
    dense = [run(tmp_path, data=DATA, seed=s, sparse_heads=fitted) for s in (0, 1)]
    few = {"weights": [1, 5, 12, 99], "accuracy": [0.1, 0.2, 0.3, 0.4]}
    more = {"accuracy_at_weights": few, "weights_per_class": 9.5}
    ours = [run(tmp_path, "InterpretableSGD", DATA, **more)]
    narrow = run(tmp_path, "InterpretableSGD, block_size=3", DATA, weights_per_class=1.0)
    other = run(tmp_path, "InterpretableSGD, shrink=0", DATA)
    rows = written(frontier([*dense, *ours, narrow, other], tmp_path), "frontier")
    trained = [r for r in rows if r["kind"] == "as trained"]
    assert [r["run"] for r in trained] == [
        "resnet18, InterpretableSGD, block_size=3",
        "resnet18, InterpretableSGD",
        "resnet18, SGD",
    ]
    assert float(trained[1]["mean"]) == ours[0]["accuracy"]
    mean = (dense[0]["accuracy"] + dense[1]["accuracy"]) / 2
    assert float(trained[2]["mean"]) == pytest.approx(mean, abs=1e-12)
    assert {r["seeds"] for r in rows if r["method"] == "SGD"} == {"2"}
    cut = [r for r in rows if r["kind"].startswith("largest") and "Inter" in r["run"]]
    assert [(r["weights"], r["mean"]) for r in cut] == [("1", "0.1"), ("5", "0.2"), ("12", "0.3")]
    path = [(r["weights"], r["mean"]) for r in rows if r["method"] == "saga"]
    assert path == [("2.0", "0.5"), ("3.5", "0.75")] * 2
    assert {solver for solver, *_ in heads(dense)} == {"saga"}


def test_points_run_from_few_weights_to_many(tmp_path):
    made = [
        run(tmp_path, f"SGD with L1, strength={s}", weights_per_class=w)
        for s, w in (("1e-3", 30.0), ("1e-2", 3.0))
    ]
    family = next(family for family in FAMILIES if family.label.startswith("SGD with"))
    assert [float(point.weights[0]) for point in points(family, made)] == [3.0, 30.0]


def test_the_papers_points_are_on_its_own_data_at_its_size():
    assert paper("places365", "tiny") == paper(DATA, "paper") == {}
    assert paper("cifar10", "paper") == {"Res18": (512.0, pytest.approx(0.9510))}
    weights, top1 = paper("places365", "code")["Res18-d5a"]
    assert weights == pytest.approx(5.12) and top1 == pytest.approx(0.5360)


def test_missing_runs_are_named(tmp_path):
    message = (
        r"run of resnet18 \(SGD\), resnet18 \(InterpretableSGD\) on scenes:size=24,classes=4 at"
    )
    with pytest.raises(MissingRuns, match=message):
        frontier([run(tmp_path, data=DATA)], tmp_path, data=[DATA])
    with pytest.raises(MissingRuns, match="on any data at scale tiny, got none"):
        frontier([], tmp_path)

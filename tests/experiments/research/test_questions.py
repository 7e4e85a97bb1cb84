"""Tables of the questions, from records made by hand; their commands know what they were asked."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from experiments.methods import DENSE, OURS, WARM_DENSE
from experiments.research import finetuning, question1, question2, tables
from experiments.research.question2 import SCAN
from experiments.research.tables import CUT
from experiments.store import Stored


def figures(iou, f1):
    formula = {"mean_iou": 2 * iou, "f1": f1, "precision": 1.0, "recall": f1, "units": 9}
    both = {"mean_iou": iou, "detectors": 9, "unique": 8, "weight": formula}
    found = {"category": both, "touched": both}
    return {"published": found, "matched": found, "read": 9, "selectivity": 0.5}


def record(method, seed, accuracy, weights=5.0, iou=0.1, f1=0.9, **more):
    numbers = {
        "method": method,
        "scale": "scenes",
        "seed": seed,
        "accuracy": accuracy,
        "validation_accuracy": accuracy,
        "weights_per_class": weights,
        "accuracy_at_weights": {"weights": [1, 5], "accuracy": [0.1, accuracy - 0.3]},
        "agreement": figures(iou, f1),
        **more,
    }
    return Stored(Path("x"), numbers)


def heads(*points):
    names = ("name", "weights", "accuracy", "validation_accuracy")
    return [dict(zip(names, point, strict=True)) for point in points]


def dense(seed, accuracy, *points):
    return record(DENSE.name, seed, accuracy, 64.0, sparse_heads=heads(*points))


RECORDS = [
    dense(
        0,
        0.90,
        ("L1 a", 4.0, 0.8, 0.80),
        ("L1 b", 6.0, 0.9, 0.84),
        (f"L1 a, {CUT}", 4.0, 0.81, 0.80),
        (f"L1 b, {CUT}", 5.0, 0.79, 0.81),
        (CUT, 5.0, 0.7, 0.7),
    ),
    record(OURS.name, 0, 0.91),
    dense(
        1,
        0.92,
        ("L1 a", 7.0, 0.9, 0.85),
        ("L1 b", 9.0, 0.9, 0.86),
        (f"L1 a, {CUT}", 4.9, 0.88, 0.87),
        (f"L1 b, {CUT}", 5.0, 0.89, 0.86),
        (CUT, 5.0, 0.7, 0.7),
    ),
    record(OURS.name, 1, 0.92),
]


def shown(table):
    console = Console(file=io.StringIO(), width=300)
    console.print(table)
    return console.file.getvalue()


def numbers(heads, name):
    """Accuracy and weights by seed."""
    rows = heads[heads["head"] == name]
    return {seed: (a, w) for seed, a, w in rows[["seed", "accuracy", "weights"]].values.tolist()}


def test_a_path_is_read_at_five_weights_and_validation_images_choose():
    found = tables.heads_at_few_weights(RECORDS, question1.CUT_TOO)
    assert numbers(found, "SGD, L1 path at 5") == {0: (pytest.approx(0.85), 5), 1: (0.9, 5)}
    assert numbers(found, "SGD, cut to 5")[0][0] == pytest.approx(0.6)
    assert numbers(found, f"SGD, {CUT}")[1][0] == 0.7
    assert numbers(found, f"SGD, L1 path, {CUT}") == {0: (0.79, 5.0), 1: (0.88, 4.9)}
    assert numbers(found, tables.POST_HOC) == {0: (pytest.approx(0.85), 5), 1: (0.88, 4.9)}


def test_differences_are_paired_by_seed():
    found = tables.heads_at_few_weights(RECORDS, question1.CUT_TOO)
    assert tables.difference(found, OURS.name, DENSE.name).mean == pytest.approx(0.005)
    assert tables.difference(found, OURS.name, tables.POST_HOC).mean == pytest.approx(0.05)
    assert tables.difference(found, OURS.name, OURS.name) is None
    assert tables.difference(found, OURS.name, "absent") is None
    assert "+0.50 +- 6.35" in shown(tables.accuracy_table("scenes", RECORDS))


def test_more_images_are_more_steps_of_all_but_l1():
    short, long = (question1.grid([128], [10, 11], times) for times in (1, 3))
    assert [len(short), len(long)] == [14, 10]
    for run, longer in zip(short[:5], long[:5], strict=True):
        assert (run.method, run.protocol) == (longer.method, longer.protocol)
        assert longer.data == run.data.replace("train=5000", "train=15000") != run.data
        assert longer.recipe == run.recipe and longer.scale == "scenes-128, x3"


@pytest.mark.parametrize("times", ["0", "-1", "11", "x"])
def test_times_are_counted_from_one_to_ten(times, capsys):
    with pytest.raises(SystemExit):
        question1.main(["--images", times])
    assert "argument --images: " in capsys.readouterr().err


def test_ratios_of_iou_are_to_the_dense_net_of_the_seed():
    records = [
        record(DENSE.name, 0, 0.9, iou=0.1, f1=0.8),
        record("recipe", 0, 0.9, iou=0.12, f1=0.9),
        record(DENSE.name, 1, 0.9, iou=0.2, f1=0.8),
        record("recipe", 1, 0.9, iou=0.26, f1=0.9),
    ]
    text = shown(tables.agreement_table(records, "published", "category"))
    assert "1.25 +- 0.64" in text and "+0.100 +- 0.000" in text


def test_the_scan_looks_at_validation_images_alone_and_has_a_dense_net_for_each_problem():
    assert all(run.protocol.split == "validation" for run in SCAN)
    dense = {(run.scale, run.seed) for run in SCAN if run.method == DENSE}
    assert {(run.scale, run.seed) for run in SCAN} == dense
    assert len({run.label for run in SCAN}) == len(SCAN)
    problems = {(run.scale, run.data, run.model.name, run.recipe.epochs) for run in SCAN}
    assert len({scale for scale, *_ in problems}) == len(problems)


def test_seeds_that_confirm_had_no_part_in_choices():
    chosen = {run.seed for run in SCAN} | {run.seed for run in question1.choices([64])}
    assert not chosen & {*question1.SEEDS, *question2.SEEDS}
    assert all(run.protocol.split == "test" for run in question2.grid(question2.SEEDS))
    choices = question1.choices([64, 128, 512])
    assert all(run.protocol.split == "validation" for run in choices)


@pytest.mark.slow
@pytest.mark.parametrize("module", [question1, question2])
def test_a_twentieth_of_a_question_is_answered_end_to_end(module, tmp_path, capsys, one_thread):
    sizes = ["--sizes", "64"] if module is question1 else []
    assert module.main(["--quick", "--seeds", "3", "--out", str(tmp_path), *sizes]) == 0
    said = capsys.readouterr().out
    assert "published quantile, images by category; n = 1 seeds" in said
    name = module.__name__[-1]
    runs = json.loads((tmp_path / f"research{name}.json").read_text())
    assert runs[0]["method"].startswith("SGD") and runs[0]["sparse_heads"] and runs[1]["units"]


def test_tuned_networks_go_on_from_one_dense_network_of_their_seed():
    runs = finetuning.grid([64], [30, 31])
    assert len({run.begin.label for run in runs}) == 2
    for run in runs:
        assert run.begin.seed == run.seed and run.begin.method == WARM_DENSE
        assert run.recipe.epochs == finetuning.EPOCHS and run.recipe.warmup == 0
    assert {run.recipe.lr for run in runs} == set(finetuning.LR.values())
    chosen = finetuning.choices([64])
    assert {run.protocol.split for run in chosen} == {"validation"}
    assert {run.begin.protocol.split for run in chosen} == {"validation"}
    assert {run.seed for run in chosen}.isdisjoint(finetuning.SEEDS)

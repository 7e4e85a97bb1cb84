"""Tables of the questions, from records made by hand; their commands know what they were asked."""

import io

import pytest
from rich.console import Console

from experiments.research import question1, question2, unit_tables
from experiments.research.methods import DENSE, OURS
from experiments.research.scan import SCAN


def figures(iou, f1):
    formula = {"mean_iou": 2 * iou, "f1": f1, "precision": 1.0, "recall": f1, "units": 9}
    both = {"mean_iou": iou, "detectors": 9, "unique": 8, "weight": formula}
    found = {"category": both, "touched": both}
    return {"published": found, "matched": found, "read": 9, "selectivity": 0.5}


def record(method, seed, accuracy, weights=5.0, iou=0.1, f1=0.9, **more):
    return {
        "method": method,
        "seed": seed,
        "accuracy": accuracy,
        "validation_accuracy": accuracy,
        "weights_per_class": weights,
        "cuts": {"5": accuracy - 0.3},
        "unit_figures": figures(iou, f1),
        **more,
    }


def heads(*points):
    return [{"name": name, "weights": w, "accuracy": a} for name, w, a in points]


RECORDS = [
    record(DENSE.name, 0, 0.90, 64.0, sparse_heads=heads(("L1 a", 4.0, 0.8), ("L1 b", 6.0, 0.9), ("cut", 5, 0.7))),
    record(OURS.name, 0, 0.91),
    record(DENSE.name, 1, 0.92, 64.0, sparse_heads=heads(("L1 a", 7.0, 0.9), ("L1 b", 9.0, 0.9), ("cut", 5, 0.7))),
    record(OURS.name, 1, 0.92),
]  # fmt: skip


def shown(table):
    console = Console(file=io.StringIO(), width=300)
    console.print(table)
    return console.file.getvalue()


def test_a_path_is_read_at_five_weights():
    found = question1.rows(RECORDS)
    assert found["dense, post-hoc L1 path at 5"][0][0] == pytest.approx(0.85)
    assert found["dense, post-hoc L1 path at 5"][1][0] == 0.9
    assert found["dense, cut to 5"][0][0] == pytest.approx(0.6)
    assert found["dense, cut to 5, refitted"][1][0] == 0.7


def test_differences_are_paired_by_seed():
    found = question1.rows(RECORDS)
    assert question1.difference(found, OURS.name, DENSE.name).mean == pytest.approx(0.005)
    assert question1.difference(found, OURS.name, question1.PATH).mean == pytest.approx(0.04)
    assert question1.difference(found, OURS.name, OURS.name) is None
    assert question1.difference(found, OURS.name, "absent") is None
    assert "+0.50 +- 6.35" in shown(question1.table("scenes", RECORDS))


def test_ratios_of_iou_are_to_the_dense_net_of_the_seed():
    records = [
        record(DENSE.name, 0, 0.9, iou=0.1, f1=0.8),
        record("recipe", 0, 0.9, iou=0.12, f1=0.9),
        record(DENSE.name, 1, 0.9, iou=0.2, f1=0.8),
        record("recipe", 1, 0.9, iou=0.26, f1=0.9),
    ]
    text = shown(unit_tables.compared(records, "published", "category"))
    assert "1.25 +- 0.64" in text and "+0.100 +- 0.000" in text


def test_the_scan_looks_at_validation_images_alone_and_has_a_dense_net_for_each_problem():
    assert all(row.run.judge == "validation" for row in SCAN)
    dense = {(row.problem, row.run.seed) for row in SCAN if row.run.method == DENSE}
    assert {(row.problem, row.run.seed) for row in SCAN} == dense
    problems = {(row.problem, row.run.problem.name, row.run.problem.epochs) for row in SCAN}
    assert len({label for label, *_ in problems}) == len(problems)


def test_seeds_that_confirm_had_no_part_in_choices():
    chosen = {row.run.seed for row in SCAN} | {run.seed for run in question1.choices([64])}
    assert not chosen & {*question1.SEEDS, *question2.SEEDS}
    assert all(run.judge == "test" for run in question2.grid(question2.SEEDS))
    assert all(run.judge == "validation" for run in question1.choices([64, 128, 512]))

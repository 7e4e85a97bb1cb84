"""Means, spreads, intervals and counts; a table in a terminal and as CSV."""

import csv
import statistics
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import t

from experiments.store import Stored
from experiments.tables import (
    NONE,
    Paired,
    ResultTable,
    column,
    frame,
    paired,
    paired_by_seed,
    spread,
)


def run(seed, accuracy, **more):
    record = {"seed": seed, "accuracy": accuracy, "epochs": [{}], "unit_labels": None, **more}
    return Stored(Path("x"), record)


def test_a_frame_has_a_row_for_each_run_and_a_column_for_each_number():
    rows = frame([run(0, 0.5), run(1, 0.7, unit_labels={"mean_iou": 0.1})])
    assert column(rows, "accuracy") == [0.5, 0.7] and column(rows, "unit_labels.mean_iou") == [0.1]
    assert "epochs" not in rows and rows["run"][1]["seed"] == 1
    assert column(frame([]), "accuracy") == []


def test_pairs_are_of_seeds_that_both_have():
    ours, dense = frame([run(0, 0.9), run(1, 0.74)]), frame([run(1, 0.7), run(0, 0.8), run(2, 0.6)])
    pair = paired_by_seed(ours, dense, "accuracy")
    assert pair.mean == pytest.approx(0.07) and pair.n == 2
    assert paired_by_seed(ours, frame([run(7, 0.1)]), "accuracy") is None
    assert paired_by_seed(ours, frame([]), "accuracy") is None


def test_mean_spread_and_count():
    values = [0.531, 0.545, 0.52]
    mean, sd = 100 * statistics.mean(values), 100 * statistics.stdev(values)
    assert spread(values, factor=100) == f"{mean:.1f} ± {sd:.1f}" == "53.2 ± 1.3"
    assert spread([7.0]) == "7.0" and spread([2.0, 4.0], digits=0) == "3 ± 1"
    assert spread([]) == NONE == "—"


def test_a_table_is_written_and_drawn(tmp_path):
    table = ResultTable(
        "t", "A title", ("net", "top-1\n%"), [("a", "1.0"), ("b", NONE)], ("A note",)
    )
    with table.write(tmp_path / "new").open(newline="") as file:
        assert list(csv.reader(file)) == [["net", "top-1 %"], ["a", "1.0"], ["b", NONE]]
    console = Console(width=60, record=True, file=(tmp_path / "screen").open("w"))
    console.print(table.drawn())
    text = console.export_text()
    assert all(word in text for word in ("A title", "top-1", "1.0", NONE, "A note"))


def test_what_does_not_fit_goes_below_and_nothing_is_cut(tmp_path):
    columns = ("net", *(f"column\n{n}" for n in range(12)))
    rows = [("Res18-ISGD, saga, nearest 5", *(f"{n}.5 ± 0.4" for n in range(12)))]
    console = Console(width=80, record=True, file=(tmp_path / "screen").open("w"))
    console.print(ResultTable("t", "A title", columns, rows, ("A note",)).drawn(80))
    text = console.export_text()
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines()) and "…" not in text
    assert all(cell in text for cell in rows[0]) and text.count("Res18-ISGD, saga") > 1
    assert text.count("A title") == text.count("A note") == 1


def test_the_interval_is_that_of_a_t_test_of_the_differences():
    first, second = [0.90, 0.93, 0.91, 0.95], [0.88, 0.92, 0.92, 0.91]
    d = np.subtract(first, second)
    expected = t.ppf(0.975, 3) * d.std(ddof=1) / 2
    found = paired(first, second)
    assert found.mean == pytest.approx(d.mean()) and found.n == 4
    assert found.half_width == pytest.approx(expected)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    n, trials = 5, 2000
    covered = 0
    for difference in rng.normal(0.3, 1.0, (trials, n)):
        found = paired(difference.tolist(), [0.0] * n)
        covered += abs(found.mean - 0.3) <= found.half_width
    error = (0.95 * 0.05 / trials) ** 0.5
    assert abs(covered / trials - 0.95) < 4 * error


def test_one_seed_has_no_interval():
    assert paired([2.0], [1.0]) == Paired(1.0, None, 1)
    assert paired([2.0], [1.0]).text() == "+1.00"


@pytest.mark.parametrize("second", [[], [1.0]])
def test_other_seeds_are_refused(second):
    with pytest.raises(ValueError, match="must hold the same seeds, got"):
        paired([1.0, 2.0] if second else [], second)

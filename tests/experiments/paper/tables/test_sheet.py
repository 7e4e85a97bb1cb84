"""Means, spreads and counts; a sheet in a terminal and as CSV."""

import csv
import statistics

from rich.console import Console

from experiments.paper.tables.sheet import NONE, Sheet, spread


def test_mean_spread_and_count():
    values = [0.531, 0.545, 0.52]
    mean, sd = 100 * statistics.mean(values), 100 * statistics.stdev(values)
    assert spread(values, factor=100) == f"{mean:.1f} ± {sd:.1f}" == "53.2 ± 1.3"
    assert spread([7.0]) == "7.0"


def test_what_was_not_measured_is_not_counted():
    assert spread([None, 2.0, 4.0], digits=0) == "3 ± 1"
    assert spread([]) == spread([None]) == NONE == "—"


def test_a_sheet_is_written_and_drawn(tmp_path):
    sheet = Sheet("t", "A title", ("net", "top-1\n%"), [("a", "1.0"), ("b", NONE)], ("A note",))
    with sheet.write(tmp_path / "new").open(newline="") as file:
        assert list(csv.reader(file)) == [["net", "top-1 %"], ["a", "1.0"], ["b", NONE]]
    console = Console(width=60, record=True, file=(tmp_path / "screen").open("w"))
    console.print(sheet.drawn())
    text = console.export_text()
    assert all(word in text for word in ("A title", "top-1", "1.0", NONE, "A note"))

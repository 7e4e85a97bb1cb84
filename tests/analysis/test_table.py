"""Tables as files: every cell comes back, and none runs in a spreadsheet."""

import csv

import pytest

from interpretable_sgd.analysis.table import table


def read(text):
    return list(csv.reader(line for line in text.splitlines() if not line.startswith("#")))


def test_cells_come_back():
    rows = [('a, "b"', 0.1, None), ("ü", 1e-30, True)]
    found = table("t", ["name", "value", "flag"], rows)
    assert read(found.to_csv()) == [
        ["name", "value", "flag"],
        ['a, "b"', "0.1", ""],
        ["ü", "1e-30", "True"],
    ]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@a", "\tx"])
def test_names_are_no_formulas(name):
    assert read(table("t", ["name"], [(name,)]).to_csv())[1] == ["'" + name]
    assert read(table("t", [name], []).to_csv())[0] == ["'" + name]


def test_numbers_below_zero_stay_numbers():
    assert read(table("t", ["x"], [(-1.5,)]).to_csv())[1] == ["-1.5"]


def test_titles_and_sources_stay_in_their_lines():
    text = table("one\ntwo", ["x"], [], {"x": "a\nb"}).to_csv({"seed": "1\n2"})
    assert text.splitlines() == ["# one two", "# x: a b", "# seed: 1 2", "x"]


def test_rows_must_be_whole():
    with pytest.raises(ValueError, match="rows must have 2 cells, got 1"):
        table("t", ["a", "b"], [(1,)])

"""The catalog: what a table or figure needs, and what is made of what is stored."""

from pathlib import Path

import pytest

from experiments import store
from experiments.paper.catalog import CATALOG, chosen, done, make, together
from experiments.paper.grids import DENSE, grid
from experiments.recipes import SCALES
from tests.experiments.paper.records import run


def test_entries_by_name():
    assert [entry.name for entry in chosen(["table1", "frontier", "table1"])] == [
        "table1",
        "frontier",
    ]
    assert chosen(["table1", "all"]) == list(CATALOG.values())
    with pytest.raises(ValueError, match=r"name must be one of all, table1, .*, got 'table2'"):
        chosen(["table2"])


@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("scale", SCALES)
def test_every_entry_has_distinct_runs_at_every_scale(name, scale):
    planned = CATALOG[name].planned(scale)
    assert len({run.label for run in planned}) == len(planned)
    assert {run.scale for run in planned} <= {scale}


def test_data_restricts_entries_that_use_it_and_no_others():
    table1, frontier = CATALOG["table1"], CATALOG["frontier"]
    assert {r.data for r in table1.planned("tiny", data=["cifar10"])} == {"cifar10"}
    assert frontier.planned("tiny", data=["cifar10"]) == frontier.planned("tiny")
    assert len(frontier.planned("tiny", data=["scenes"])) == len(frontier.planned("tiny"))
    first = frontier.data("tiny")[0]
    assert {r.data for r in frontier.planned("tiny", data=[first])} == {first}


def test_shared_runs_are_trained_once():
    entries = chosen(["frontier", "ablation"])
    runs = together(entries, "tiny", None, [])
    assert len(runs) == len(set(runs)) < sum(len(e.planned("tiny")) for e in entries)


def test_what_is_done_is_what_is_planned_and_stored():
    planned = CATALOG["table1"].planned("tiny")
    assert done(planned, []) == 0
    assert done(planned, [run(), run(seed=1), run(seed=99), run(scale="small")]) == 2


def test_a_table_is_made_of_all_stored_seeds_of_its_scale():
    entry = CATALOG["table1"]
    planned = entry.planned("tiny", seeds=[0], data=["cifar10"])
    runs = [run(), run(seed=7), run(seed=8, scale="small")]
    (sheet,) = make(entry, runs, planned, Path("nowhere"))
    assert sheet.rows[0][1] == "2" and sheet.rows[0][3] == "50.0 ± 0.0"


def test_planned_and_stored_have_one_label():
    (planned,) = grid([DENSE], ["cifar10"], "tiny", [0])
    assert store.label(run().record) == planned.label

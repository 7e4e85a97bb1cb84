"""The frontier from records made by hand."""

from experiments.paper import grids
from experiments.paper.tables.frontier import frontier
from experiments.paper.tables.sheet import NONE
from tests.experiments.paper.tables.records import run

DATA = grids.SCENES["tiny"][0]


def rows(runs):
    first = frontier(runs, grids.frontier("tiny"))[0]
    return {name: cells for name, *cells in first.rows}


def test_every_method_is_on_one_axis_whether_it_was_trained_or_not():
    heads = {"weights": [3.0, 30.0], "accuracy": [0.3, 0.45]}
    found = rows(
        [
            run(data=DATA, sparse_heads=heads),
            run(data=DATA, seed=1, top1=0.6, sparse_heads=heads),
            run("resnet18_isgd", "isgd block_size=3", DATA, weights_per_class=3.2),
        ]
    )
    assert found["Res18"] == ["2", "64.0 ± 0.0", "55.0 ± 7.1"]
    assert found["Res18-ISGD block_size=3"] == ["1", "3.2", "50.0"]
    assert found["Res18-d25a"] == ["0", NONE, NONE]
    assert found["Res18, pruned to 5"] == ["2", "5.0 ± 0.0", "30.0 ± 0.0"]
    assert found["Res18, pruned to 3"] == ["0", NONE, NONE]
    assert found["Res18, saga, 2"] == ["2", "30.0 ± 0.0", "45.0 ± 0.0"]


def test_a_sheet_for_each_size():
    assert len(frontier([], grids.frontier("tiny"))) == 3

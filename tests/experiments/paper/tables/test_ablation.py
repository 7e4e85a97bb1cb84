"""The ablation from records made by hand: validation judges, test is shown for two rows."""

from experiments.paper import grids
from experiments.paper.tables.ablation import COLUMNS, ablation
from experiments.paper.tables.sheet import NONE
from tests.experiments.paper.tables.records import run

DATA = grids.SCENES["tiny"][0]


def made(validation, method="isgd", seed=0, top1=0.5):
    return run("resnet18_isgd", method, DATA, seed, validation_top1=validation, top1=top1)


def rows(runs):
    (sheet,) = ablation(runs, grids.ablation("tiny"))
    return {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in sheet.rows}


def test_differences_are_paired_by_seed():
    found = rows(
        [
            made(0.5),
            made(0.7, seed=1),
            made(0.8, "isgd floor=0", seed=1),
            made(0.9, "isgd floor=0", 2),
        ]
    )
    assert found["floor=0"]["minus default,\nsame seeds"] == "10.0"
    assert found["floor=0"]["validation\ntop-1, %"] == "85.0 ± 7.1"
    assert found["default"]["minus default,\nsame seeds"] == NONE


def test_test_accuracy_is_shown_of_the_default_and_of_what_validation_images_chose():
    found = rows(
        [made(0.5), made(0.6, "isgd floor=0", top1=0.1), made(0.4, "isgd shrink=0", top1=1.0)]
    )
    shown = {name: row["test\ntop-1, %"] for name, row in found.items()}
    assert shown["default"] == "50.0" and shown["floor=0"] == "10.0"
    assert shown["shrink=0"] == NONE


def test_without_runs_all_is_dashes():
    found = rows([])
    assert set(found["default"].values()) == {"default", "0", NONE}

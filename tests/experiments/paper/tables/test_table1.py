"""Table 1 from records made by hand."""

from experiments.paper import grids, published
from experiments.paper.tables.sheet import NONE
from experiments.paper.tables.table1 import COLUMNS, table1
from tests.experiments.paper.tables.records import run

LABELS = {"mean_iou": 0.04, "top100_iou": 0.06, "detectors": 30, "unique": 7, "f1": 0.5}


def sheet(runs, scale="tiny", data="cifar10"):
    (found,) = table1(runs, grids.grid(grids.TABLE1, [data], scale))
    return {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in found.rows}, found


def test_the_papers_number_stands_beside_ours():
    rows, _ = sheet([run(top1=0.951), run(seed=1, top1=0.953)])
    assert rows["Res18"]["paper\ntop-1"] == "95.10" and rows["Res18"]["paper\ntop-5"] == NONE
    assert rows["Res18"]["ours\ntop-1"] == "95.2 ± 0.1"
    assert rows["Res18-L1"]["paper\ntop-1"] == NONE


def test_every_number_of_the_paper_is_in_it():
    for data, numbers in published.TOP1.items():
        rows, _ = sheet([], data=data)
        for network in numbers.keys() - {"resnet18_d32_32_5a"}:
            row = rows[published.NAMES[network]]
            assert row["paper\ntop-1"] == f"{numbers[network]:.2f}"
            if data in published.TOP5:
                assert row["paper\ntop-5"] == f"{published.TOP5[data][network]:.2f}"


def test_a_row_without_runs_is_dashes():
    rows, _ = sheet([])
    assert set(rows["Res18-ISGD"].values()) == {"Res18-ISGD", "0", NONE}
    assert set(rows["Res18, pruned to 5"].values()) == {"Res18, pruned to 5", "0", NONE}


def test_scores_of_labels_and_heads_cut_from_the_dense_net():
    heads = {"weights": [4.0, 20.0], "accuracy": [0.35, 0.45]}
    rows, _ = sheet([run(unit_labels=LABELS, sparse_heads=heads, glm_saga_heads=None)])
    assert rows["Res18"]["mean\nIoU"] == "0.040" and rows["Res18"]["detec-\ntors"] == "30"
    assert rows["Res18"]["F1"] == "0.50" and rows["Res18"]["residual\nat 5, %"] == "25.0"
    assert rows["Res18, pruned to 5"]["ours\ntop-1"] == "30.0"
    saga = rows["Res18, saga, nearest 5"]
    assert (saga["weights\n/class"], saga["ours\ntop-1"]) == ("4.0", "35.0")
    assert rows["Res18, glm_saga, nearest 5"]["ours\ntop-1"] == NONE


def test_a_stand_in_is_called_one():
    assert "the paper's numbers are of its own data" in sheet([])[1].notes
    assert "the paper's numbers are of its own data" not in sheet([], scale="paper")[1].notes


def test_a_sheet_for_each_data_set():
    planned = grids.grid(grids.TABLE1, ["cifar10", "places365"], "tiny")
    assert [s.name for s in table1([], planned)] == ["table1-cifar10", "table1-places365"]

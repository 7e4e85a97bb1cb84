"""Tables from records made by hand."""

import pytest

from experiments import published
from experiments.paper import grids, tables
from experiments.paper.tables import Point, nearest, path, pruned
from experiments.tables import NONE
from tests.experiments.paper.records import heads, run

SCENES = grids.SCENES["tiny"][0]
LABELS = {"mean_iou": 0.04, "top100_iou": 0.06, "detectors": 30, "unique": 7, "f1": 0.5}


def table1(runs, scale="tiny", data="cifar10"):
    (found,) = tables.table1(runs, grids.grid(grids.TABLE1, [data], scale))
    return {row[0]: dict(zip(tables.TABLE1, row, strict=True)) for row in found.rows}, found


def test_the_papers_number_stands_beside_ours():
    rows, _ = table1([run(accuracy=0.951), run(seed=1, accuracy=0.953)])
    assert rows["Res18"]["paper\ntop-1"] == "95.10" and rows["Res18"]["paper\ntop-5"] == NONE
    assert rows["Res18"]["ours\ntop-1"] == "95.2 ± 0.1"
    assert rows["Res18-L1"]["paper\ntop-1"] == NONE


def test_every_number_of_the_paper_is_in_it():
    for data, numbers in published.TOP1.items():
        rows, _ = table1([], data=data)
        for name in numbers.keys() - {"Res18-d[32,32,5]a"}:
            row = rows[name]
            assert row["paper\ntop-1"] == f"{numbers[name]:.2f}"
            if data in published.TOP5:
                assert row["paper\ntop-5"] == f"{published.TOP5[data][name]:.2f}"


def test_a_row_without_runs_is_dashes():
    rows, _ = table1([])
    assert set(rows["Res18-ISGD"].values()) == {"Res18-ISGD", "0", NONE}
    assert set(rows["Res18, pruned to 5"].values()) == {"Res18, pruned to 5", "0", NONE}


def test_scores_of_labels_and_heads_cut_from_the_dense_net():
    fitted = heads((4.0, 0.35), (20.0, 0.45))
    rows, _ = table1([run(unit_labels=LABELS, sparse_heads=fitted)])
    assert rows["Res18"]["mean\nIoU"] == "0.040" and rows["Res18"]["detec-\ntors"] == "30"
    assert rows["Res18"]["F1"] == "0.50" and rows["Res18"]["residual\nat 5, %"] == "25.0"
    assert rows["Res18, pruned to 5"]["ours\ntop-1"] == "30.0"
    saga = rows["Res18, saga, nearest 5"]
    assert (saga["weights\n/class"], saga["ours\ntop-1"]) == ("4.0", "35.0")
    assert rows["Res18, glm_saga, nearest 5"]["ours\ntop-1"] == NONE


def test_a_stand_in_is_called_one():
    assert "the paper's numbers are of its own data" in table1([])[1].notes
    assert "the paper's numbers are of its own data" not in table1([], scale="paper")[1].notes


def test_a_table_for_each_data_set():
    planned = grids.grid(grids.TABLE1, ["cifar10", "places365"], "tiny")
    assert [s.name for s in tables.table1([], planned)] == ["table1-cifar10", "table1-places365"]


def frontier(runs):
    first = tables.frontier(runs, grids.frontier("tiny"))[0]
    return {name: cells for name, *cells in first.rows}


def test_every_method_is_on_one_axis_whether_it_was_trained_or_not():
    fitted = heads((3.0, 0.3), (30.0, 0.45))
    found = frontier(
        [
            run(data=SCENES, sparse_heads=fitted),
            run(data=SCENES, seed=1, accuracy=0.6, sparse_heads=fitted),
            run("InterpretableSGD, block_size=3", SCENES, weights_per_class=3.2),
        ]
    )
    assert found["Res18"] == ["2", "64.0 ± 0.0", "55.0 ± 7.1"]
    assert found["Res18-ISGD, block_size=3"] == ["1", "3.2", "50.0"]
    assert found["Res18-d25a"] == ["0", NONE, NONE]
    assert found["Res18, pruned to 5"] == ["2", "5.0 ± 0.0", "30.0 ± 0.0"]
    assert found["Res18, pruned to 3"] == ["0", NONE, NONE]
    assert found["Res18, saga, 2"] == ["2", "30.0 ± 0.0", "45.0 ± 0.0"]


def test_a_frontier_for_each_size():
    assert len(tables.frontier([], grids.frontier("tiny"))) == 3


def made(validation, method="InterpretableSGD", seed=0, accuracy=0.5):
    return run(method, SCENES, seed, validation_accuracy=validation, accuracy=accuracy)


def ablation(runs):
    (table,) = tables.ablation(runs, grids.ablation("tiny"))
    return {row[0]: dict(zip(tables.ABLATION, row, strict=True)) for row in table.rows}


def test_differences_are_paired_by_seed():
    floor = "InterpretableSGD, form=0"
    found = ablation([made(0.5), made(0.7, seed=1), made(0.8, floor, 1), made(0.9, floor, 2)])
    assert found["form=0"]["minus default,\nsame seeds"] == "+10.0"
    assert found["form=0"]["validation\ntop-1, %"] == "85.0 ± 7.1"
    assert found["default"]["minus default,\nsame seeds"] == NONE


def test_test_accuracy_is_shown_of_the_default_and_of_what_validation_images_chose():
    floor, shrink = "InterpretableSGD, form=0", "InterpretableSGD, block_size=2"
    found = ablation([made(0.5), made(0.6, floor, accuracy=0.1), made(0.4, shrink, accuracy=1.0)])
    shown = {name: row["test\ntop-1, %"] for name, row in found.items()}
    assert shown["default"] == "50.0" and shown["form=0"] == "10.0"
    assert shown["block_size=2"] == NONE


def test_without_runs_all_is_dashes():
    assert set(ablation([])["default"].values()) == {"default", "0", NONE}


def test_a_pruned_head_is_read_from_the_curve():
    assert pruned(run(), 5) == Point(5, 0.3)
    assert pruned(run(), 64) == Point(64, 0.5)
    assert pruned(run(), 7) is None


def test_the_head_of_a_path_is_chosen_by_its_weights_not_by_its_accuracy():
    fitted = heads((0.0, 0.0), (2.0, 0.9), (9.0, 0.1), (60.0, 0.99))
    points = path(run(sparse_heads=fitted), "saga")
    assert nearest(points) == Point(9.0, 0.1)  # 9 / 5 < 5 / 2
    assert nearest(points, 2) == Point(2.0, 0.9)


@pytest.mark.parametrize("record", [run(), run(sparse_heads=heads((5.0, 0.5), solver="glm_saga"))])
def test_without_a_path_there_is_no_head(record):
    assert path(record, "saga") == [] and nearest([]) is None


def test_titles():
    assert published.title("resnet50", "Dynamic-25") == "Res50-d25a"
    assert published.title("resnet18", "SGD with L1, strength=0.01") == "Res18-L1, strength=0.01"
    assert published.title("resnet99", "SGD") == "resnet99 SGD"

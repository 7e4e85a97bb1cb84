"""Which runs a row has, and which heads are cut from one."""

import pytest

from experiments.paper.tables.rows import Point, nearest, of, path, pruned, title
from tests.experiments.paper.tables.records import run


def test_a_row_is_network_method_and_data():
    runs = [run(seed=1), run(seed=2), run(method="l1"), run(data="scenes"), run("resnet50")]
    assert [r["seed"] for r in of(runs, "resnet18", "sgd", "cifar10")] == [1, 2]


def test_titles():
    assert title("resnet50_d25a", "sgd") == "Res50-d25a"
    assert title("resnet18_isgd", "faithful") == "Res18-ISGD faithful"
    assert title("resnet18_l1", "l1 strength=1e-2") == "Res18-L1 strength=1e-2"
    assert title("resnet99", "sgd") == "resnet99"


def test_a_pruned_head_is_read_from_the_curve():
    assert pruned(run()) == Point(5, 0.3)
    assert pruned(run(), 64) == Point(64, 0.5)
    assert pruned(run(), 7) is None


def test_the_head_of_a_path_is_chosen_by_its_weights_not_by_its_accuracy():
    heads = {"weights": [0.0, 2.0, 9.0, 60.0], "accuracy": [0.0, 0.9, 0.1, 0.99]}
    points = path(run(sparse_heads=heads), "sparse_heads")
    assert nearest(points) == Point(9.0, 0.1)  # 9 / 5 < 5 / 2
    assert nearest(points, 2) == Point(2.0, 0.9)


@pytest.mark.parametrize("record", [run(), run(sparse_heads=None)])
def test_without_a_path_there_is_no_head(record):
    assert path(record, "sparse_heads") == [] and nearest([]) is None

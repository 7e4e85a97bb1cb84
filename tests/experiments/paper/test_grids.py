"""Grids are literal; what they promise of the paper's tables is here once more."""

import pytest

from experiments import published
from experiments.paper import grids
from experiments.recipes import SCALES


def labels(rows):
    return [published.title(model, method.name) for model, method in rows]


def test_table1_has_the_papers_nets_in_its_order_and_ours_after_them():
    assert labels(grids.TABLE1) == [
        "Res18",
        *(f"Res18-d{k}a" for k in (1, 5, 10, 25, 50, 100)),
        "Res18-L1",
        "Res50",
        "Res50-d25a",
        "Res18-d[32,32,5]a",
        "Res18-ISGD",
        "Res18-Algorithm 3",
        "Res18-ISGD shared",
    ]


def test_every_published_net_of_table_1_is_trained():
    for table in (published.TOP1, published.TOP5):
        for numbers in table.values():
            assert set(numbers) <= set(labels(grids.TABLE1))


def test_the_paper_scales_are_the_papers_networks():
    (run,) = grids.grid([grids.DENSE], ["cifar10"], "paper", [0])
    assert run.model.options == {} and run.protocol.post_hoc.images == 50_000
    (run,) = grids.grid([grids.DYNAMIC_5], ["cifar10"], "tiny", [0])
    assert run.model.options == {"share": 0.25, "blocks": 1} and run.protocol.post_hoc is None


def test_the_paper_scales_train_on_all_images_and_code_keeps_exactly_k():
    for scale in ("paper", "code"):
        for run in grids.grid([grids.DYNAMIC_5, grids.DENSE], grids.PAPERS, scale, [0]):
            assert run.protocol.literal
            assert run.method.exactly == (scale == "code" and run.method.dynamic == 5)
    assert not any(run.protocol.literal for run in grids.frontier("paper"))
    assert not any(run.method.exactly for run in grids.grid(grids.TABLE1, grids.PAPERS, "tiny"))


def test_a_grid_is_every_row_on_every_data_set_with_every_seed():
    rows = [grids.DENSE, grids.OURS]
    runs = grids.grid(rows, ["cifar10", "places365"], "tiny", seeds=[3, 4, 5])
    assert len(set(runs)) == 12
    assert {run.seed for run in grids.grid(rows, ["cifar10"], "small")} == {0, 1, 2}


@pytest.mark.parametrize("scale", SCALES)
def test_the_frontier_sees_every_size_and_shares_the_ablations_default(scale):
    frontier = grids.frontier(scale)
    sizes = [f"size={size}" for size in (24, 64, 128)]
    assert all(any(size in run.data for run in frontier) for size in sizes)
    assert len({run.seed for run in frontier}) >= 2
    assert set(frontier) & set(grids.ablation(scale))


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_the_ablation_sees_every_size_at_larger_scales(scale):
    assert len({run.data for run in grids.ablation(scale)}) == 3


def test_an_ablation_changes_one_thing_at_a_time():
    default, *changes = grids.ABLATION
    assert default == grids.OURS
    assert all(len(method.name.split(", ")) == 2 for _, method in changes)
    words = ("method", "block_size", "form", "settle", "shrink", "layers", "momentum")
    options = {method.name.split(", ")[1].partition("=")[0] for _, method in changes}
    assert options >= {*words, "batch"}


@pytest.mark.parametrize("make", [lambda s: grids.grid([], [], s), grids.frontier, grids.ablation])
def test_refusals(make):
    with pytest.raises(ValueError, match=r"scale must be one of tiny.*, got 'huge'"):
        make("huge")

"""A run is trained once, and looks at test images only if it says so."""

from dataclasses import replace

import pytest

from experiments import results
from experiments.data.scenes import Scenes
from experiments.research import runs
from experiments.research.methods import DENSE
from experiments.research.problems import SIZES
from experiments.research.runs import Run, finished

TINY = replace(SIZES[64], sizes=(128, 48, 48), epochs=1)


@pytest.fixture
def drawn(monkeypatch):
    """Names of the splits that images were asked of."""
    seen = set()
    tensors = Scenes.tensors

    def spied(self, split, which):
        seen.add(split)
        return tensors(self, split, which)

    monkeypatch.setattr(Scenes, "tensors", spied)
    runs._drawn.cache_clear()
    return seen


def test_a_run_for_choices_draws_no_test_image(drawn, tmp_path):
    record = finished(Run(TINY, DENSE, 0, "validation"), tmp_path)
    assert drawn == {"train", "validation"}
    assert record["accuracy"] == record["validation_accuracy"]


def test_a_finished_run_is_read_not_trained(drawn, tmp_path):
    told = []
    run = Run(TINY, DENSE, 0, strengths=(0.02,))
    first = finished(run, tmp_path, told.append)
    assert "test" in drawn and len(told) == 1
    assert finished(run, tmp_path, told.append) == first and len(told) == 1
    assert results.stored(tmp_path, replace(run, seed=1).config) is None
    names = [head["name"] for head in first["sparse_heads"]]
    assert names == ["L1 0.02", "cut to 5, refitted"]
    assert first["sparse_heads"][1]["weights"] <= 5 < first["weights_per_class"]


def test_a_wide_net_gets_a_head_cut_to_five_from_its_path(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "MANY", 32)
    record = finished(Run(TINY, DENSE, 0, "validation", strengths=(0.02,)), tmp_path)
    weights = {head["name"]: head["weights"] for head in record["sparse_heads"]}
    assert list(weights) == ["L1 0.02", "L1 0.02, cut to 5, refitted", "cut to 5, refitted"]
    assert weights["L1 0.02, cut to 5, refitted"] <= 5

"""A run is trained once, and looks at test images only if it says so."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from experiments import results
from experiments.datasets.synthetic.scenes import Scenes
from experiments.evaluation import sparse_heads
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
    assert names == ["L1 0.02", "L1 0.02, cut to 5, refitted", "cut to 5, refitted"]
    assert first["sparse_heads"][2]["weights"] <= 5 < first["weights_per_class"]


@pytest.mark.parametrize(("many", "fitter"), [(32, "l1_path_by_gradients"), (64, "l1_path")])
def test_the_path_of_a_wide_net_is_fitted_by_gradients(many, fitter, monkeypatch, tmp_path):
    asked = []

    def fitted(units, labels, strengths):
        asked.append(strengths)
        return sparse_heads.l1_path_by_gradients(units, labels, strengths)

    monkeypatch.setattr(runs, "MANY", many)
    monkeypatch.setattr(
        runs, "sparse_heads", SimpleNamespace(**{**vars(sparse_heads), fitter: fitted})
    )
    finished(Run(TINY, DENSE, 0, "validation", strengths=(0.02,)), tmp_path)
    assert asked == [(0.02,)]  # once, for the path and for its points cut

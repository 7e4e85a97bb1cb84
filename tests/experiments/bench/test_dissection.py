"""The benchmark of dissection runs end to end on little, and what it compares is comparable."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from experiments.bench import broden_like, dissection, dissection_baselines
from interpretable_sgd.analysis.dissection import read_labels


@pytest.fixture
def small(monkeypatch):
    for name, value in {"UNITS": 8, "BRODEN": 500}.items():
        monkeypatch.setattr(dissection, name, value)


def test_writes_every_contestants_ratio(small, tmp_path, capsys):
    out = tmp_path / "deep/answer.json"
    argv = ["--only", "tally", "--rounds", "2", "--images", "3", "--out", str(out)]
    assert dissection.main(argv) == 0
    answer = json.loads(out.read_text())
    assert answer["tally"]["NumPy loop"]["ratio"] == 1
    assert len(answer["tally"]["dissection"]["ratios"]) == 2
    assert f"target {dissection.TARGET}" in capsys.readouterr().out


def test_refuses_contestants_that_disagree(small, monkeypatch):
    monkeypatch.setattr(dissection_baselines, "of_given_bits", lambda *args: np.ones(1))
    with pytest.raises(RuntimeError, match="contestants' counts differ: nothing was measured"):
        dissection.main(["--only", "tally", "--rounds", "1", "--images", "3"])


def test_packed_words_hold_every_pixel():
    masks = np.random.default_rng(0).random((3, 100)) < 0.5
    words = dissection_baselines.packed(masks)
    assert words.shape == (3, 2)
    assert np.unpackbits(words.view(np.uint8), axis=1).sum(1).tolist() == masks.sum(1).tolist()


def test_made_up_labels_are_like_brodens():
    table = broden_like.table()
    assert len(table) == 1197 and len(table.categories) == 6
    for index, sample in enumerate(broden_like.labels(4)):
        labels = read_labels(sample, table)
        assert len(labels.planes) == 4 and len(labels.whole) == 2 * (index % 2)
        assert labels.present.sum() == 4 + 2 * (index % 2)


def test_maps_fire_in_places():
    maps = broden_like.maps(10, 4, 7, torch.Generator().manual_seed(0))
    assert maps.shape == (10, 4, 7, 7) and maps.min() == 0
    assert 0.2 < (maps > 0).float().mean() < 0.8


@pytest.mark.parametrize("name", ["rounds", "threads", "images"])
def test_bad_arguments(name, capsys):
    with pytest.raises(SystemExit):
        dissection.main([f"--{name}", "0"])
    assert f"--{name}: must be at least 1, got 0" in capsys.readouterr().err

"""The scripts of Figures 2 and 3: what they claim, on their smallest scale."""

import json

import pytest
import torch

from experiments import toy

figures = pytest.importorskip("experiments.figures.em_against_dynamic_k", exc_type=ImportError)


def test_a_definition_is_recognised():
    exact = [[float(c in own) for c in toy.CONCEPTS] for own in toy.CLASSES.values()]
    assert toy.recovered(exact) == len(toy.CLASSES)
    exact[0][toy.CONCEPTS.index("speaker")] = -0.5
    exact[1][toy.CONCEPTS.index("screen")] = 0
    assert toy.recovered(exact) == len(toy.CLASSES) - 2


def test_routed_training_learns_the_definitions(monkeypatch):
    monkeypatch.setattr(toy, "SAMPLES", 1024)
    routed, dense = (toy.train(name, 0) for name in ("Dynamic-2 layer", "dense layer"))
    assert toy.recovered(routed["weight"]) == len(toy.CLASSES)
    assert toy.recovered(dense["weight"]) == 0
    assert routed["accuracy"] > dense["accuracy"] - 0.02


def test_toy_writes_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(toy, "SAMPLES", 64)
    monkeypatch.setattr(toy, "EPOCHS", 2)
    assert toy.main(["--out", str(tmp_path), "--seeds", "1"]) == 0
    stored = json.loads((tmp_path / "toy.json").read_text())
    assert [r["training"] for r in stored["records"]] == list(toy.TRAININGS)
    assert (tmp_path / "toy.png").stat().st_size > 0
    assert "laptop      = " in capsys.readouterr().out


def test_dynamic_k_takes_the_largest_votes_and_em_the_common_ones(tmp_path):
    votes, _, near, largest = figures.selections(*figures.scene())
    assert largest.sum(-1).tolist() == [figures.K] * len(figures.CENTRES)
    for row, ball, top in zip(votes, near, largest, strict=True):
        assert torch.equal(row[top].sort().values, row.sort().values[-figures.K :])
        assert row[ball].mean() < row[top].min()
    assert figures.em_against_dynamic_k(tmp_path).stat().st_size > 0

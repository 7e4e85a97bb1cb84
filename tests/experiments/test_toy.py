"""The script of Figure 2: what it claims, on its smallest scale."""

import json

import pytest

pytest.importorskip("matplotlib")

from experiments import toy


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
    assert (tmp_path / "fig2.png").stat().st_size > 0
    assert "laptop      = " in capsys.readouterr().out

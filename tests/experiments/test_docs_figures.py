"""Pictures of the documentation: drawn from the stored numbers, and those from runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import docs_figures, store

ROOT = Path(__file__).parents[2]
GALLERY = {"gallery-light.svg", "gallery-dark.svg"}
"""Drawn by `python -m theory gallery`."""


def stored_run(out: Path, method: str, seed: int, data: str = docs_figures.DATA) -> store.Stored:
    """A run on disk as the demo leaves it, of a 2 x 3 head."""
    config = dict.fromkeys(docs_figures.SHARED, 1) | {
        "model": "small_resnet",
        "method": method,
        "data": f"{data}:train=5",
        "scale": "demo",
        "seed": seed,
    }
    record = {
        "n": {"test": 8},
        "hardware": {},
        "accuracy": 0.75,
        "weights_per_class": 3.0,
        "accuracy_at_weights": {"weights": [1, 3], "accuracy": [0.5, 0.75]},
    }
    weight = np.full((2, 3), seed + 0.123456)
    return store.save(out, config, record, {"weight": weight}, {"w": torch.zeros(1)})


def test_the_pictures_are_those_of_the_stored_numbers(tmp_path: Path) -> None:
    drawn = docs_figures.draw(json.loads(docs_figures.MEASURED.read_text()), tmp_path)
    # screenshots of the example report are no figures of runs
    there = {path.name for path in docs_figures.PICTURES.iterdir() if path.suffix != ".webp"}
    assert {path.name for path in drawn} == there - {
        "flow-light.svg",
        "flow-dark.svg",
        "rate.png",
    } - GALLERY
    for path in drawn:
        kept = (docs_figures.PICTURES / path.name).read_text()
        assert path.read_text() == kept, f"{path.name}: run python -m experiments pictures"


def test_numbers_are_collected_from_runs(tmp_path: Path) -> None:
    for optimizer in ("InterpretableSGD", "SGD"):
        for seed in (1, 0):
            stored_run(tmp_path, optimizer, seed)
    stored_run(tmp_path, "SGD", 0, data="glyphs")
    found = docs_figures.collected(tmp_path)
    runs = [(run["method"], run["seed"]) for run in found["runs"]]
    assert runs == [
        ("SGD", 0),
        ("SGD", 1),
        ("InterpretableSGD", 0),
        ("InterpretableSGD", 1),
    ]
    assert found["command"] == "python -m experiments demo --seeds 0 1 --data scenes"
    assert found["weights"]["SGD"] == [[0.1235] * 3] * 2
    docs_figures.write(found, tmp_path / "scenes.json")
    assert json.loads((tmp_path / "scenes.json").read_text()) == found


def test_a_folder_without_runs_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        docs_figures.main(["--runs", str(tmp_path)])
    assert "--runs must be the folder of a finished demo" in capsys.readouterr().err
    with pytest.raises(ValueError, match="runs must hold runs of scenes, got none"):
        docs_figures.collected(tmp_path)

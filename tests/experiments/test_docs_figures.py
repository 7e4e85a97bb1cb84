"""Pictures of the documentation: drawn from the stored numbers, and those from runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments import docs_figures, results
from experiments.figures import flow
from experiments.figures.head_maps import cells
from experiments.figures.svg import SCHEMES

ROOT = Path(__file__).parents[2]


def stored_run(
    out: Path, optimizer: str, seed: int, data: str = docs_figures.DATA
) -> dict[str, Any]:
    """A run on disk as the demo leaves it, of a 2 x 3 head."""
    config = dict.fromkeys(docs_figures.SHARED, 1) | {
        "data": data,
        "optimizer": {"name": optimizer, "lr": 0.2},
        "seed": seed,
    }
    accuracies = {"weights": [1, 3], "accuracy": [0.5, 0.75]}
    record = {
        "data": data,
        "optimizer": optimizer,
        "seed": seed,
        "n": {"test": 8},
        "hardware": {},
        "test_accuracy": 0.75,
        "weights_per_class": 3.0,
        "accuracy_at_weights": accuracies,
    }
    weight = np.full((2, 3), seed + 0.123456)
    return results.store(out, config, record, {"weight": weight}, {"w": torch.zeros(1)})


def test_the_pictures_are_those_of_the_stored_numbers(tmp_path: Path) -> None:
    drawn = docs_figures.draw(json.loads(docs_figures.MEASURED.read_text()), tmp_path)
    assert len(drawn) == 6
    assert {path.name for path in drawn} == {path.name for path in docs_figures.PICTURES.iterdir()}
    for path in drawn:
        kept = (docs_figures.PICTURES / path.name).read_text()
        assert path.read_text() == kept, f"{path.name}: run python -m experiments pictures"


def test_numbers_are_collected_from_runs(tmp_path: Path) -> None:
    for optimizer in ("InterpretableSGD", "SGD"):
        for seed in (1, 0):
            stored_run(tmp_path, optimizer, seed)
    stored_run(tmp_path, "SGD", 0, data="glyphs")
    found = docs_figures.collected(tmp_path)
    runs = [(run["optimizer"], run["seed"]) for run in found["runs"]]
    assert runs == [
        ("SGD", 0),
        ("SGD", 1),
        ("InterpretableSGD", 0),
        ("InterpretableSGD", 1),
    ]
    assert found["command"] == "python -m experiments demo --seeds 0 1 --data scenes"
    assert found["weights"]["SGD"] == [[0.1235] * 3] * 2
    docs_figures.store(found, tmp_path / "scenes.json")
    assert json.loads((tmp_path / "scenes.json").read_text()) == found


def test_a_folder_without_runs_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        docs_figures.main(["--runs", str(tmp_path)])
    assert "--runs must be the folder of a finished demo" in capsys.readouterr().err
    with pytest.raises(ValueError, match="runs must hold runs of scenes, got none"):
        docs_figures.collected(tmp_path)


def test_cells_are_weights() -> None:
    """A cell for each weight of at least 1e-3, in the colour of its sign, stronger where larger."""
    scheme = SCHEMES[0]
    weight = np.array([[4.0, 0.0009, -4.0], [0.25, 0.0, -0.25]])
    parts = cells(weight, 0, 4.0, scheme)
    assert sum(part.count("M") for part in parts) == 4
    assert [scheme.positive in part for part in parts] == [True, True, False, False]
    assert ['fill-opacity="1"' in part for part in parts] == [False, True, False, True]


def test_the_modules_of_the_flow_exist() -> None:
    assert len(flow.modules()) > 10
    for module in flow.modules():
        assert (ROOT / module).exists(), module

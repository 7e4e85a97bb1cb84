"""Runs made by hand in the format that training stores."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments import store
from experiments.evaluation import selection
from experiments.store import Stored

CLASSES, UNITS, BELOW, IMAGES, EPOCHS = 4, 12, 6, 3, 3
NAMES = ["airplane_cabin", "bakery", "red plain disc + blue striped ring + green bar", "canal"]


def run(
    out: Path,
    method: str = "SGD",
    data: str = "cifar10",
    seed: int = 0,
    scale: str = "tiny",
    model: str = "resnet18",
    classes: int = CLASSES,
    arrays: dict[str, np.ndarray] | None = None,
    config: dict[str, Any] | None = None,
    **record: Any,
) -> Stored:
    """A stored run whose every number is a function of its names."""
    rng = np.random.default_rng([len(model), len(method), seed])
    kept = {"model": model, "method": method, "data": data, "scale": scale, "seed": seed}
    numbers = {
        "accuracy": float(rng.uniform(0.4, 0.9)),
        "validation_accuracy": float(rng.uniform(0.4, 0.9)),
        "weights_per_class": float(rng.uniform(2, 12)),
        "accuracy_at_weights": {"weights": [1, 5, 12], "accuracy": rng.uniform(size=3).tolist()},
        "epochs": [epoch(rng, number) for number in range(1, EPOCHS + 1)],
    }
    return store.save(
        out,
        kept | (config or {}),
        numbers | record,
        drawn(rng, classes) | (arrays or {}),
        weights(rng, classes),
    )


def epoch(rng: np.random.Generator, number: int) -> dict[str, float]:
    names = ("train_accuracy", "validation_accuracy", "sparsity", "mean_iou")
    return {"epoch": number} | {name: float(rng.uniform()) for name in names}


def weights(rng: np.random.Generator, classes: int) -> dict[str, torch.Tensor]:
    shapes = {
        "layer3.0.downsample.0.weight": (BELOW, BELOW, 1, 1),
        "layer4.0.downsample.0.weight": (UNITS, BELOW, 1, 1),
        "fc.weight": (classes, UNITS),
    }
    return {
        name: torch.from_numpy(rng.normal(size=shape).astype(np.float32))
        for name, shape in shapes.items()
    }


def drawn(rng: np.random.Generator, classes: int) -> dict[str, np.ndarray]:
    """Arrays as `snapshots` makes them; parts and biases add up to the two highest logits."""
    weight = rng.normal(size=(classes, UNITS)).astype(np.float32)
    bias = rng.normal(size=classes).astype(np.float32)
    units = rng.uniform(size=(IMAGES, UNITS)).astype(np.float32)
    logits = units @ weight.T + bias
    highest = np.argsort(-logits, axis=1)[:, :2]
    names = [NAMES[c] if c < len(NAMES) else f"class_{c}" for c in range(classes)]
    inner = {"layer3.0": (BELOW, BELOW), "layer4.0": (UNITS, BELOW)}
    found = {
        "weight": weight,
        "bias": bias,
        "class_names": np.array(names),
        "unit_iou": rng.uniform(size=UNITS),
        "unit_names": np.array([f"concept {m}" for m in range(UNITS)]),
        "maps": rng.uniform(size=(IMAGES, UNITS, 2, 2)).astype(np.float32),
        "units": units,
        "logits": logits,
        "labels": highest[:, 0].copy(),
        "pictures": rng.integers(0, 256, (IMAGES, 8, 8, 3), dtype=np.uint8),
        "decision_classes": highest,
        "decision_parts": weight[highest] * units[:, None],
        "decision_biases": bias[highest],
    }
    for name, shape in inner.items():
        found[f"inner:{name}"] = rng.normal(size=shape).astype(np.float32)
        for side, count in zip(("out", "in"), shape, strict=True):
            found[f"inner_{side}_iou:{name}"] = rng.uniform(size=count)
            found[f"inner_{side}_names:{name}"] = np.array([f"{side} {m}" for m in range(count)])
    return found | tops(rng, found)


def tops(rng: np.random.Generator, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All units of a stage with two pictures each, but the first, which has none."""
    arrays = {}
    for stage, reader in selection.STAGES.items():
        outputs, units = found[reader].shape
        counts = np.full(units, 2)
        counts[0] = 0
        of_stage = {
            "targets": selection.spaced(outputs),
            "units": np.arange(units),
            "pictures": rng.integers(0, 256, (units, 2, 8, 6, 3), dtype=np.uint8),
            "maps": rng.uniform(size=(units, 2, 2, 2)).astype(np.float32),
            "counts": counts,
            "thresholds": np.full(units, 0.5, dtype=np.float32),
        }
        arrays |= {f"top_{name}:{stage}": value for name, value in of_stage.items()}
    return arrays


def written(paths: list[Path], *names: str) -> list[dict[str, str]]:
    """The plotted numbers of the last figure; every file of the figures must be there and hold something."""
    ends = (".png", "-light.svg", "-dark.svg", ".csv")
    assert [path.name for path in paths] == [name + end for name in names for end in ends]
    assert all(path.stat().st_size > 0 for path in paths)
    with paths[-1].open(newline="") as file:
        return list(csv.DictReader(file))

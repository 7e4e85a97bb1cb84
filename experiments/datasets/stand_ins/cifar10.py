"""Scenes packed as CIFAR-10 is: pickled batches of bytes, five to train on and one to test."""

from __future__ import annotations

from pathlib import Path
from pickle import dumps
from typing import Any

import torch

from experiments.datasets.presets import Shown
from experiments.datasets.stand_ins import marker

BATCHES = 5
FOLDER = "cifar-10-batches-py"


def write_cifar10(root: Path, shown: Shown) -> None:
    """Write `cifar-10-batches-py` below a folder.

    Args:
        root: the folder.
        shown: scenes of 32 x 32; a class's training images share out over five batches.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True)
    scenes = shown.scenes
    each = shown.train * scenes.classes // BATCHES
    for batch in range(BATCHES):
        content = _batch(shown, "train", range(batch * each, (batch + 1) * each))
        label = f"training batch {batch + 1} of {BATCHES}"
        _dump(folder / f"data_batch_{batch + 1}", {"batch_label": label, **content})
    content = _batch(shown, "test", range(shown.test * scenes.classes))
    _dump(folder / "test_batch", {"batch_label": "testing batch 1 of 1", **content})
    meta = {"label_names": scenes.class_names, "num_cases_per_batch": each, "num_vis": 3 * 32**2}
    _dump(folder / "batches.meta", meta)
    marker.write(folder)


def _batch(shown: Shown, split: str, which: range) -> dict[str, Any]:
    images, labels = shown.scenes.tensors(split, which)
    rows = (255 * images).round().to(torch.uint8).flatten(1).numpy()
    names = [f"{split}_{i:05}.png" for i in which]
    return {"labels": labels.tolist(), "data": rows, "filenames": names}


def _dump(file: Path, content: dict[str, Any]) -> None:
    file.write_bytes(dumps(content, protocol=2))

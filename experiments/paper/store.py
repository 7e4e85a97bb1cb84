"""Stored runs of the paper's experiments: training saves them, tables and figures load them.

A run is a folder `OUT/runs/LABEL-HASH`: `record.json`, `arrays.npz`, `weights.safetensors`. The record is
written last and makes the run count; while a run trains, its folder holds `checkpoints` alone.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from experiments import atomic_files
from experiments.results import canonical, digest

RECORD, ARRAYS, WEIGHTS, CHECKPOINTS = (
    "record.json",
    "arrays.npz",
    "weights.safetensors",
    "checkpoints",
)
KEY = ("network", "method", "data", "scale", "seed")  # what names a run among others


class StoreError(RuntimeError):
    """A stored run that cannot be read."""


@dataclass(frozen=True)
class Stored:
    """A finished run.

    Attributes:
        folder: where it lies.
        record: its numbers, and the configuration that made them.

    >>> Stored(Path("runs/x"), {"top1": 0.5})["top1"]
    0.5
    """

    folder: Path
    record: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.record[name]

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Head, unit labels and a few images with their maps; read once, when asked for."""
        with np.load(self.folder / ARRAYS) as file:
            return dict(file)

    def weights(self) -> dict[str, torch.Tensor]:
        """The net's state dict."""
        return safetensors.torch.load_file(self.folder / WEIGHTS)


def label(key: Mapping[str, Any]) -> str:
    """The readable part of a folder's name, from a configuration, a record or a plan.

    >>> label({"network": "resnet18", "method": "isgd K=10", "data": "scenes:size=24", "scale": "tiny", "seed": 0})
    'resnet18-isgd-K=10-scenes-size=24-tiny-seed0'
    """
    words = [str(key[name]) for name in KEY[:-1]] + [f"seed{key['seed']}"]
    return "-".join(re.sub(r"[^\w.=]+", "-", word).strip("-") for word in words)


def folder(out: Path, config: Mapping[str, Any]) -> Path:
    """Where the run of exactly this configuration lies."""
    return out / "runs" / f"{label(config)}-{digest(config)[:12]}"


def save(
    out: Path,
    config: Mapping[str, Any],
    record: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    weights: Mapping[str, torch.Tensor],
) -> Stored:
    """Write a finished run and remove its checkpoints; cut short, it is a run that is not finished.

    Args:
        out: folder of results.
        config: what decides the result, as JSON, with the keys of `KEY`.
        record: its numbers, as JSON.
        arrays: what figures need beside them.
        weights: the net's state dict.
    """
    place = folder(out, config)
    config = json.loads(canonical(config))
    keys = {name: config[name] for name in KEY}
    record = json.loads(canonical({**record, **keys, "config": config, "hash": digest(config)}))
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    atomic_files.replace(place / ARRAYS, packed.getvalue())
    atomic_files.replace(place / WEIGHTS, safetensors.torch.save(whole))
    atomic_files.replace(
        place / RECORD, (json.dumps(record, sort_keys=True, indent=1) + "\n").encode()
    )
    if (place / CHECKPOINTS).exists():
        atomic_files.discard(place / CHECKPOINTS)
    return Stored(place, record)


def find(out: Path, config: Mapping[str, Any]) -> Stored | None:
    """The finished run of exactly this configuration, if there is one."""
    place = folder(out, config)
    return _read(place) if (place / RECORD).exists() else None


def load(out: Path) -> list[Stored]:
    """All finished runs of a folder of results, by label; of runs with one label, the one written last."""
    records = sorted(
        (out / "runs").glob(f"*/{RECORD}"), key=lambda path: (path.stat().st_mtime, path)
    )
    newest = {label(run.record): run for run in map(_read, (path.parent for path in records))}
    return [newest[name] for name in sorted(newest)]


def _read(place: Path) -> Stored:
    try:
        record = json.loads((place / RECORD).read_text())
        if record["hash"] != digest(record["config"]):
            raise ValueError("its hash is of another configuration")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{place / RECORD} must be the record of a finished run: {error}; "
            "remove its folder to train it again"
        ) from error
    return Stored(place, record)

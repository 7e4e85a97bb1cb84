"""Finished runs on disk: training saves them, tables and figures load them.

A run is a folder `OUT/runs/LABEL-HASH`: `record.json`, `arrays.npz`, `weights.safetensors`. The record is
written last and makes the run count; while a run trains, its folder holds `checkpoints` alone.
"""

import hashlib
import io
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from experiments import atomic_files

RECORD, ARRAYS, WEIGHTS = "record.json", "arrays.npz", "weights.safetensors"
CHECKPOINTS = "checkpoints"
KEY = ("model", "method", "data", "scale", "seed")  # what names a run among others
PACKAGES = ("interpretable-sgd", "torchvision", "numpy", "scikit-learn")
Record = dict[str, Any]


class StoreError(RuntimeError):
    """A stored run that cannot be read."""


def canonical(value: Any) -> str:
    """JSON that is the same for equal values: keys sorted, no spaces, no NaN.

    >>> canonical({"b": 1, "a": (2, None)})
    '{"a":[2,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write sorted, indented JSON in one move: a reader sees the old file or the new one."""
    content = json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n"
    atomic_files.replace(path, content.encode())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape a result."""
    # torch's own string names the build (CPU, CUDA), its metadata does not
    installed = {"python": platform.python_version(), "torch": torch.__version__}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def hardware(device: str) -> dict[str, Any]:
    """What the seconds were measured on."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine()
    return {"device": name, "cores": os.cpu_count(), "threads": torch.get_num_threads()}


@dataclass(frozen=True)
class Stored:
    """A finished run.

    Attributes:
        folder: where it lies.
        record: its numbers, and the configuration that made them.

    >>> Stored(Path("runs/x"), {"accuracy": 0.5})["accuracy"]
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
        """The network's state dict."""
        return safetensors.torch.load_file(self.folder / WEIGHTS)


def label(key: Mapping[str, Any]) -> str:
    """The readable part of a folder's name, from a configuration or a record.

    >>> key = {"model": "resnet18", "method": "L1, strength=0.1", "data": "scenes:size=24", "scale": "tiny"}
    >>> label(key | {"seed": 0})
    'resnet18-L1-strength=0.1-scenes-size=24-tiny-seed0'
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
        weights: the network's state dict.
    """
    place = folder(out, config)
    config = json.loads(canonical(config))
    keys = {name: config[name] for name in KEY}
    record = json.loads(canonical({**record, **keys, "config": config, "hash": digest(config)}))
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    # safetensors knows one memory format, and channels_last is not it
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    atomic_files.replace(place / ARRAYS, packed.getvalue())
    atomic_files.replace(place / WEIGHTS, safetensors.torch.save(tensors))
    write_json(place / RECORD, record)
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


def write_lines(path: Path, records: list[Any]) -> None:
    """Write a JSON list with one record to a line, which is small and shows changes."""
    lines = ",\n".join(map(canonical, records))
    atomic_files.replace(path, f"[\n{lines}\n]\n".encode())


def _read(place: Path) -> Stored:
    try:
        record = json.loads((place / RECORD).read_text())
        if record["hash"] != digest(record["config"]):
            raise ValueError("its hash is of another configuration")
        if not (place / WEIGHTS).exists():
            raise ValueError("its weights are gone")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{place / RECORD} must be the record of a finished run: {error}; "
            "remove its folder to train it again"
        ) from error
    return Stored(place, record)

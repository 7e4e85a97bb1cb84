"""Results on disk: every run with its configuration, versions and hash; training writes, figures read."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

Record = dict[str, Any]
WEIGHTS = "weights.pt"
PACKAGES = ("interpretable-sgd", "torchvision", "numpy", "scikit-learn")


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
    _replace(path, (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(content)
    os.replace(draft, path)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape a result."""
    # torch's own string names the build (CPU, CUDA), its metadata does not
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def hardware(device: str) -> dict[str, Any]:
    """What the seconds were measured on."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine()
    return {"device": name, "cores": os.cpu_count(), "threads": torch.get_num_threads()}


def folder(out: Path, config: Mapping[str, Any]) -> Path:
    """Where the run of a configuration lies; the name ends in the configuration's hash."""
    label = f"{config['data']}-{config['optimizer']['name']}-seed{config['seed']}"
    return out / "runs" / f"{label}-{digest(config)[:12]}"


def store(
    out: Path,
    config: Mapping[str, Any],
    record: Record,
    arrays: Mapping[str, np.ndarray],
    state: Mapping[str, torch.Tensor],
) -> Record:
    """Write a finished run and its weights; the record, written last, is what makes it count."""
    place = folder(out, config)
    place.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(place / "arrays.npz", **arrays)
    torch.save({name: value.cpu() for name, value in state.items()}, place / WEIGHTS)
    record = {**record, "config": dict(config), "hash": digest(config)}
    write_json(place / "record.json", record)
    return record


def stored(out: Path, config: Mapping[str, Any]) -> Record | None:
    """The finished run of exactly this configuration, if there is one."""
    path = folder(out, config) / "record.json"
    if not path.exists() or not (path.parent / WEIGHTS).exists():
        return None
    record = json.loads(path.read_text())
    return record if record["hash"] == digest(config) else None


def arrays(out: Path, record: Record) -> dict[str, np.ndarray]:
    """What `store` was given beside the record."""
    with np.load(folder(out, record["config"]) / "arrays.npz") as file:
        return dict(file)


def weights(out: Path, record: Record) -> dict[str, torch.Tensor]:
    """The state dict that `store` was given beside the record."""
    return torch.load(folder(out, record["config"]) / WEIGHTS, weights_only=True)


def paired(records: Sequence[Record], key: str = "test_accuracy") -> dict[str, dict[str, Any]]:
    """Per data set, InterpretableSGD minus SGD over the seeds that both have finished.

    Returns:
        mean, standard error of the mean (None for one seed), n and the differences, in the key's unit.
    """
    found: dict[str, dict[int, dict[str, float]]] = {}
    for record in records:
        config = record["config"]
        seeds = found.setdefault(config["data"], {})
        seeds.setdefault(config["seed"], {})[config["optimizer"]["name"]] = record[key]
    answers = {}
    for data, seeds in found.items():
        both = [
            values["InterpretableSGD"] - values["SGD"]
            for _, values in sorted(seeds.items())
            if {"SGD", "InterpretableSGD"} <= set(values)
        ]
        if both:
            error = statistics.stdev(both) / math.sqrt(len(both)) if len(both) > 1 else None
            answers[data] = {
                "mean": statistics.mean(both),
                "standard_error": error,
                "n": len(both),
                "differences": both,
            }
    return answers


def summary(
    records: Sequence[Record], planned: int, definitions: Mapping[str, str], seconds: float
) -> Record:
    """The content of summary.json: runs without their curves, paired differences, definitions.

    Args:
        records: finished runs.
        planned: how many were asked for; `complete` says whether all are there.
        definitions: what each number is.
        seconds: of the whole command, resumed runs not counted.
    """
    curves = ("history", "accuracy_at_weights", "sparse_heads")
    content = {
        "complete": len(records) == planned,
        "definitions": dict(definitions),
        "runs": [{k: v for k, v in record.items() if k not in curves} for record in records],
        "paired_difference_of_test_accuracy": paired(records),
        "seconds": seconds,
    }
    return {**content, "hash": digest(content)}

"""Checkpoints that are whole or do not count: weights as safetensors, the rest as data, checksums of both.

A checkpoint is a folder `step-000001200` of three files: `model.safetensors`, `state.pt` (loaded with
`weights_only=True`, which runs no code) and `manifest.json` with size and SHA-256 of the other two and the
configuration of the run. It appears in one rename, and an older one goes only after that.
"""

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from experiments import atomic_files
from experiments.store import canonical, digest

WEIGHTS, STATE, MANIFEST = "model.safetensors", "state.pt", "manifest.json"
KEPT = 2  # the newest, and one to fall back on


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, or not be trusted, or is of another run."""


@dataclass(frozen=True)
class Snapshot:
    """All that decides how a run goes on.

    Attributes:
        step: optimizer steps done.
        weights: tensors by name.
        state: numbers, strings, tensors, and lists, tuples and dicts of them.
        config: of the run, as JSON.
    """

    step: int
    weights: Mapping[str, Tensor]
    state: Mapping[str, Any]
    config: Mapping[str, Any]


def save(folder: Path, snapshot: Snapshot, keep: int = KEPT) -> Path:
    """Write a checkpoint, then remove all but the `keep` newest.

    Raises:
        CheckpointError: the system refused, as on a full disk; earlier checkpoints are as they were.
    """
    place = folder / f"step-{snapshot.step:09d}"
    # safetensors knows one memory format, and channels_last is not it
    weights = {name: t.detach().cpu().contiguous() for name, t in snapshot.weights.items()}
    buffer = io.BytesIO()
    torch.save(dict(snapshot.state), buffer)
    files = {WEIGHTS: safetensors.torch.save(weights), STATE: buffer.getvalue()}
    manifest = {
        "step": snapshot.step,
        "config": dict(snapshot.config),
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
    }
    files[MANIFEST] = canonical({**manifest, "hash": digest(manifest)}).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_files.sweep(folder)
        with atomic_files.drafted(place) as part:
            for name, content in files.items():
                atomic_files.write(part / name, content)
        for old in listed(folder)[keep:]:
            atomic_files.discard(old)
    except OSError as error:
        left = listed(folder)
        intact = f"{left[0]} is as it was" if left else "there is no earlier one"
        raise CheckpointError(
            f"cannot write checkpoint {place}: {error.strerror or error}; {intact}"
        ) from error
    return place


def listed(folder: Path) -> list[Path]:
    """Checkpoints of a folder, newest first, whether intact or not."""
    return sorted(folder.glob("step-*"), reverse=True)


def latest(folder: Path) -> Snapshot | None:
    """The newest intact checkpoint; None if there is none at all.

    Warns:
        UserWarning: a newer one is damaged, which costs the steps since the one before it.

    Raises:
        CheckpointError: there are checkpoints, but none is intact.
    """
    damage = []
    for place in listed(folder):
        try:
            snapshot = load(place)
        except CheckpointError as error:
            damage.append(str(error))
            continue
        for message in damage:
            warnings.warn(f"{message}; going on from {place.name}", stacklevel=2)
        return snapshot
    if damage:
        raise CheckpointError(
            f"no checkpoint in {folder} is intact ({'; '.join(damage)}); remove the folder to start anew"
        )
    return None


def load(place: Path) -> Snapshot:
    """Read a checkpoint after its checksums have been compared.

    Raises:
        CheckpointError: a file is missing, truncated or damaged.
    """
    contents = {}
    for name in (MANIFEST, WEIGHTS, STATE):
        try:
            contents[name] = (place / name).read_bytes()
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {place} must hold {name}: {error.strerror}"
            ) from error
    manifest = _manifest(place / MANIFEST, contents[MANIFEST])
    for name, wanted in manifest["files"].items():
        content = contents[name]
        if len(content) != wanted["bytes"]:
            raise CheckpointError(
                f"{place / name} must have {wanted['bytes']} bytes, got {len(content)}"
            )
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != wanted["sha256"]:
            raise CheckpointError(
                f"{place / name} must have SHA-256 {wanted['sha256']}, got {sha256}"
            )
    state = torch.load(io.BytesIO(contents[STATE]), map_location="cpu", weights_only=True)
    weights = safetensors.torch.load(contents[WEIGHTS])
    return Snapshot(manifest["step"], weights, state, manifest["config"])


def _manifest(path: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
        stored_hash = manifest.pop("hash")
    except (ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{path} must be JSON with a hash, got {len(content)} bytes"
        ) from error
    if stored_hash != digest(manifest):
        raise CheckpointError(f"{path} must have the hash {stored_hash}, got {digest(manifest)}")
    return manifest


def check_config(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` that names what differs, unless a checkpoint is of this run."""
    wanted = json.loads(canonical(wanted))
    keys = sorted(k for k in {*stored, *wanted} if stored.get(k) != wanted.get(k))
    if keys:
        said = ", ".join(f"{k} {stored.get(k)!r} (now {wanted.get(k)!r})" for k in keys[:3])
        raise CheckpointError(f"the checkpoint is of another run: {said}")


def check_weights(stored: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> None:
    """Raise `CheckpointError` that names what differs, unless a checkpoint is of this model."""
    problems = [f"it lacks {name}" for name in model if name not in stored]
    problems += [f"the model has no {name}" for name in stored if name not in model]
    problems += [
        f"{name} has shape {tuple(stored[name].shape)}, the model's has {tuple(tensor.shape)}"
        for name, tensor in model.items()
        if name in stored and stored[name].shape != tensor.shape
    ]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(
            f"the checkpoint is of another model: {'; '.join(problems[:3])}{more}"
        )

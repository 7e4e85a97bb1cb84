"""A pass over a data set that was cut off goes on where it was."""

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn


def save(state: dict[str, Any], path: Path) -> None:
    """Write a state so that a cut-off write leaves the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load(path: Path | None, owner: dict[str, Any]) -> dict[str, Any] | None:
    """A state, or None where there is no file.

    Args:
        path: what `save` wrote; None for no checkpoint.
        owner: what the state must belong to, by its keys.

    Raises:
        ValueError: the state belongs to something else.
    """
    if path is None or not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    for key, value in owner.items():
        if state.get(key) != value:
            raise ValueError(
                f"checkpoint {path} must be of {key} {value!r}, got {state.get(key)!r}: "
                "remove it to start anew"
            )
    return state


def fingerprint(model: nn.Module) -> str:
    """A hash of all parameters and buffers of a model.

    >>> layer = nn.Linear(2, 2)
    >>> before = fingerprint(layer)
    >>> _ = layer.weight.data.add_(1)
    >>> fingerprint(layer) == before
    False
    """
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, torch.Tensor):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()[:16]

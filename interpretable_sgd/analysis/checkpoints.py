"""Files that a cut-off write leaves whole, and checkpoints of passes over a data set."""

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

FORMAT = 2  # of a checkpoint; a state of another format is refused


class CheckpointError(ValueError):
    """A checkpoint that belongs to something else, or cannot be read."""


class StaleCheckpointError(CheckpointError):
    """A checkpoint whose images, masks or preprocessing turn out to be other ones than those given."""


def set_aside(path: Path, error: StaleCheckpointError) -> None:
    """Move a checkpoint of other data out of the way, and warn that the pass starts anew."""
    aside = path.with_name(f"{path.name}.other")
    os.replace(path, aside)
    warnings.warn(f"{error}; it is now {aside}, and the pass starts anew", stacklevel=3)


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, then move it there: a cut-off write leaves the one before.

    Args:
        path: of the file; its folder is made.
        write: writes to the path that it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def save(state: Mapping[str, Any], path: Path) -> None:
    """Write a state so that a cut-off write leaves the one before."""
    replace(path, lambda partial: torch.save({**state, "format": FORMAT}, partial))


def load(path: Path | None, owner: Mapping[str, Any]) -> dict[str, Any] | None:
    """A state, or None where there is no file.

    Args:
        path: what `save` wrote; None for no checkpoint.
        owner: what the state must belong to, by its keys.

    Raises:
        CheckpointError: the state belongs to something else, or the file holds none.
    """
    if path is None or not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"it holds a {type(state).__name__}")
    except Exception as error:  # torch.load raises whatever a damaged file leads to
        why = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"checkpoint {path} cannot be read, remove it to start anew: {why}"
        ) from error
    for key, value in {"format": FORMAT, **owner}.items():
        if state.get(key) != value:
            raise CheckpointError(
                f"checkpoint {path} must be of {key} {value!r}, got {state.get(key)!r}: "
                "remove it to start anew"
            )
    return state

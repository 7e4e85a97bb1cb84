"""The origin of numbers: versions, configuration, seed, and hashes of the model and the data."""

import datetime
import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PACKAGES = ("interpretable-sgd", "numpy", "torchvision")


def provenance(
    model: nn.Module, hashes: Tensor, config: Mapping[str, Any] | None, seed: int | None
) -> dict[str, Any]:
    """What a reader needs to make the same numbers again, as JSON.

    Args:
        model: hashed with its parameters and buffers.
        hashes: of the images and labels, `Decisions.hashes`.
        config: whatever decided the numbers.
        seed: of what is drawn.

    >>> made = provenance(nn.Linear(2, 2), torch.arange(3), {"k": 5}, seed=0)
    >>> sorted(made)
    ['config', 'created', 'data_hash', 'model_hash', 'seed', 'versions']
    """
    return {
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "config": dict(config or {}),
        "seed": seed,
        "versions": versions(),
        "model_hash": fingerprint(model),
        "data_hash": data_hash(hashes),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape a result."""
    # torch's own string names the build (CPU, CUDA), its metadata does not
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def fingerprint(model: nn.Module) -> str:
    """A hash of all parameters and buffers of a model, and of its layers as they print themselves.

    >>> layer = nn.Linear(2, 2)
    >>> before = fingerprint(layer)
    >>> _ = layer.weight.data.add_(1)
    >>> fingerprint(layer) == before
    False
    """
    # an address in memory is another one in every process
    digest = hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", repr(model)).encode())
    # buffers that are not saved shape the output, too
    for name, value in {**model.state_dict(), **dict(model.named_buffers())}.items():
        if isinstance(value, Tensor):
            update(digest, name, value)
    return digest.hexdigest()[:16]


def data_hash(hashes: Tensor) -> str:
    """SHA-256 of the hashes of images in their order, in hexadecimal."""
    return hashlib.sha256(hashes.contiguous().numpy().tobytes()).hexdigest()


def update(digest: Any, name: str, value: Tensor) -> None:
    """Add a tensor's name, dtype, shape and values to a hash."""
    value = value.detach().cpu().contiguous()
    digest.update(f"{name} {value.dtype}{tuple(value.shape)}".encode())
    digest.update(value.reshape(-1).view(torch.uint8).numpy().data)


def plain(value: Any) -> Any:
    """Tensors, arrays and paths as what JSON knows; numbers that are not finite become None.

    >>> plain({"a": torch.tensor([1.5, float("nan")]), 2: (True, None)})
    {'a': [1.5, None], '2': [True, None]}
    """
    if isinstance(value, Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, str):
        # bytes of a file name that are not UTF-8 could not be written
        return value if value.isascii() else os.fsencode(value).decode("utf-8", "replace")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return str(value)


def canonical(value: Any) -> str:
    """JSON that is the same for equal values: keys sorted, no spaces, no NaN."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)

"""Where numbers come from: versions, configuration, seed, and hashes of the model and the data."""

import datetime
import hashlib
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Set
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.checkpoints import fingerprint
from interpretable_sgd.analysis.forward import pair

PACKAGES = ("interpretable-sgd", "numpy", "torchvision")


def provenance(
    model: nn.Module, data_hash: str, config: Mapping[str, Any] | None, seed: int | None
) -> dict[str, Any]:
    """What a reader needs to make the same numbers again, as JSON.

    Args:
        model: hashed with its parameters and buffers.
        data_hash: of the images and labels, as `Watched` gives it.
        config: whatever decided the numbers.
        seed: of what is drawn.

    >>> made = provenance(nn.Linear(2, 2), "", {"k": 5}, seed=0)
    >>> sorted(made)
    ['config', 'created', 'data_hash', 'model_hash', 'seed', 'versions']
    """
    return {
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "config": dict(config or {}),
        "seed": seed,
        "versions": versions(),
        "model_hash": fingerprint(model),
        "data_hash": data_hash,
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


def update(digest: Any, value: Tensor) -> None:
    """Add a tensor's dtype, shape and values to a hash."""
    value = value.detach().cpu().contiguous()
    digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
    digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())


class Watched:
    """A loader that hashes the images and labels it hands on, and keeps those that are wanted.

    The hash depends on the images and their order, not on the batches they come in.

    Args:
        loader: batches of images and labels.
        wanted: positions of images to keep.

    Attributes:
        kept: image and label by position.

    >>> watched = Watched([(torch.zeros(2, 1, 4, 4), torch.tensor([3, 7]))], wanted={1})
    >>> batches = list(watched)
    >>> watched.kept[1][1], len(watched.hash)
    (7, 64)
    """

    def __init__(self, loader: Iterable[Any], wanted: Set[int] = frozenset()) -> None:
        self.loader, self.wanted = loader, wanted
        self.kept: dict[int, tuple[Tensor, int]] = {}
        self._digest = hashlib.sha256()

    @property
    def hash(self) -> str:
        """SHA-256 of what was handed on so far, in hexadecimal."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self._digest, seen = hashlib.sha256(), 0
        for images, labels in map(pair, self.loader):
            for n in range(len(images)):
                update(self._digest, images[n])
                update(self._digest, labels[n].long())
                if seen + n in self.wanted:
                    self.kept[seen + n] = (images[n].clone(), int(labels[n]))
            seen += len(images)
            yield images, labels


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
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return str(value)


def canonical(value: Any) -> str:
    """JSON that is the same for equal values: keys sorted, no spaces, no NaN."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)

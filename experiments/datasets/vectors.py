"""Data that are vectors, not pictures: rows of a table, or what a frozen network says of texts and pictures."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from experiments.datasets.dataset import Augmented, InMemory, LabelledData
from experiments.datasets.digits import split_by_class
from experiments.datasets.rng import SPLITS
from experiments.datasets.spec import DataError, Request


class Vectors(NamedTuple):
    """What a reader finds.

    Attributes:
        splits: "train", "validation" and "test".
        class_names: in the order of the labels.
        identity: all that decides the numbers, as JSON.
    """

    splits: Mapping[str, InMemory]
    class_names: tuple[str, ...]
    identity: dict[str, Any]


Read = Callable[[Path, Path], Vectors]


@dataclass(frozen=True)
class VectorFiles:
    """A row of the registry: vectors that a reader makes of what lies on disk.

    Attributes:
        what: see `Source`.
        expected: see `Source`.
        read: from the path, and a folder below which it may keep what is dear to compute.
        packaged: folders where a package puts it.
        needs: Python packages that read it.
    """

    what: str
    expected: str
    read: Read
    packaged: tuple[Path, ...] = ()
    needs: tuple[str, ...] = ()

    def options(self) -> Mapping[str, type]:
        """None: the reader says what is held out."""
        return {}

    def located(self) -> Path | None:
        """A package's folder, if all that reads it is installed."""
        there = next((path for path in self.packaged if path.is_dir()), None)
        return None if self._lacks() else there

    def open(self, request: Request) -> LabelledData:
        """Every column with mean 0 and deviation 1 over the training vectors."""
        if lacking := self._lacks():
            raise DataError(
                f"{request.name} needs {' and '.join(lacking)}, of {self.expected}; not installed"
            )
        path = request.path or self.located()
        if path is None:
            raise DataError(
                f"{request.name} must have a path, {request.name}:PATH, of {self.expected}; got none"
            )
        found = self.read(path, request.folder)
        train = found.splits["train"].samples
        mean, deviation = train.mean(0), train.std(0).clamp(min=1e-6)
        parts = {
            name: InMemory((part.samples - mean) / deviation, part.labels)
            for name, part in found.splits.items()
        }
        return LabelledData(
            name=request.name,
            class_names=found.class_names,
            shape=tuple(train.shape[1:]),
            train=Augmented(parts["train"], None, request.seed),
            plain=parts["train"],
            validation=parts["validation"],
            test=parts["test"],
            prepare=lambda vector: (vector - mean) / deviation,
            identity={"name": request.name, **found.identity},
        )

    def _lacks(self) -> list[str]:
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def shared_out(samples: Tensor, labels: Tensor) -> dict[str, InMemory]:
    """Splits of 60, 20 and 20 % of every class, always the same.

    >>> {name: len(part) for name, part in shared_out(torch.zeros(10, 2), torch.zeros(10)).items()}
    {'train': 6, 'validation': 2, 'test': 2}
    """
    number = split_by_class(labels.numpy(), 0)
    chosen = [torch.from_numpy(np.flatnonzero(number == k)) for k in range(len(SPLITS))]
    return {
        name: InMemory(samples[which], labels[which])
        for name, which in zip(SPLITS, chosen, strict=True)
    }

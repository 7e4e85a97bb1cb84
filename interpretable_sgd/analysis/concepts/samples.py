"""What dissection asks of a concept data set, whatever lies on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interpretable_sgd.analysis.concepts.table import ConceptTable

Plane = NDArray[np.integer]


class ConceptError(ValueError):
    """A sample that cannot be read; dissection skips it, counts it and reports why."""


@dataclass(frozen=True)
class ConceptSample:
    """One image and its labels.

    Args:
        image: (channels, h, w), uint8 in 0 .. 255 or float.
        labels: numbers of the table: an integer labels the whole image, an array (sh, sw) labels
            pixels, 0 where unlabelled. Several may label one pixel.
        size: (sh, sw) of the label planes, at which units' masks are compared with them.
        name: for reports; unique in the data set.
    """

    image: Tensor
    labels: Sequence[Plane | int]
    size: tuple[int, int]
    name: str


class ConceptImages(Protocol):
    """A data set of `ConceptSample`; item i raises `ConceptError` where it cannot be read."""

    @property
    def table(self) -> ConceptTable:
        """Names of the labels."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> ConceptSample: ...

    def name(self, index: int) -> str:
        """Name of a sample, known without reading it."""

"""The vocabulary of a concept data set, and the samples that dissection asks of one, whatever lies on disk."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

SUFFIX = re.compile(r"-[a-z]$")
LARGEST_LOOKUP = 2**20  # entries of an array from numbers to positions; 4 MB


@dataclass(frozen=True)
class Concept:
    """One label.

    Args:
        number: as written in the label images, >= 1; 0 means unlabelled everywhere.
        name: as written in the data set; ``title`` is the readable one.
        category: the kind of concept, such as ``"object"`` or ``"color"``.
    """

    number: int
    name: str
    category: str

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(
                f"number of a concept must be at least 1 (0 is unlabelled), got {self.number}"
            )

    @property
    def title(self) -> str:
        """The name without the category letter that Broden appends, at its end only.

        >>> Concept(5, "bakery-shop-s", "scene").title
        'bakery-shop'
        >>> Concept(6, "t-shirt", "object").title
        't-shirt'
        """
        return SUFFIX.sub("", self.name)


@dataclass(frozen=True)
class ConceptTable:
    """Concepts in order: position ``l`` of every (u, l) array is ``concepts[l]``.

    Args:
        concepts: with distinct numbers; at least one.

    Raises:
        ValueError: no concepts, or two of one number.

    >>> table = ConceptTable((Concept(1, "red", "color"), Concept(7, "cat", "object")))
    >>> len(table), table.categories, table.category_index.tolist()
    (2, ('color', 'object'), [0, 1])
    >>> table.positions(np.array([[0, 7], [1, 1]])).tolist()
    [[-1, 1], [0, 0]]
    """

    concepts: tuple[Concept, ...]

    def __post_init__(self) -> None:
        if not self.concepts:
            raise ValueError("concepts must name at least one label, got none")
        numbers = [concept.number for concept in self.concepts]
        for before, number in zip(sorted(numbers), sorted(numbers)[1:], strict=False):
            if before == number:
                raise ValueError(f"concepts must have distinct numbers, got {number} twice")

    def __len__(self) -> int:
        return len(self.concepts)

    @property
    def names(self) -> list[str]:
        """Readable names, (l,)."""
        return [concept.title for concept in self.concepts]

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Distinct categories in order of first appearance."""
        return tuple(dict.fromkeys(concept.category for concept in self.concepts))

    @cached_property
    def category_index(self) -> NDArray[np.int64]:
        """Position in ``categories`` of each concept's category, (l,)."""
        where = {category: k for k, category in enumerate(self.categories)}
        return np.array([where[concept.category] for concept in self.concepts], dtype=np.int64)

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Numbers of the concepts, ascending, 0 first, and the position of each."""
        numbers = np.array([0, *(concept.number for concept in self.concepts)], dtype=np.int64)
        order = numbers.argsort()
        return numbers[order], (order - 1).astype(np.int32)

    @cached_property
    def _lookup(self) -> NDArray[np.int32] | None:
        """From a number to a position, -2 for a number that no concept has; None if it were huge."""
        numbers, positions = self._sorted
        if numbers[-1] >= LARGEST_LOOKUP:
            return None
        lookup = np.full(numbers[-1] + 1, -2, dtype=np.int32)
        lookup[numbers] = positions
        return lookup

    def positions(self, numbers: NDArray[np.integer]) -> NDArray[np.int32]:
        """Position of each label number, -1 where it is 0.

        Args:
            numbers: label numbers of any shape, >= 0.

        Returns:
            Positions of the same shape.

        Raises:
            ValueError: a number that the table lacks.
        """
        known, order = self._sorted
        outside = (numbers < 0) | (numbers > known[-1])
        if outside.any():
            strange = numbers[outside].min()
            raise ValueError(f"label {strange} must be a number of the table, and is not")
        if self._lookup is not None:
            found = self._lookup[numbers]
        else:
            place = np.searchsorted(known, numbers)
            found = np.where(known[place] == numbers, order[place], np.int32(-2))
        if found.size and found.min() == -2:
            strange = numbers[found == -2].min()
            raise ValueError(f"label {strange} must be a number of the table, and is not")
        return found


def numbered(names: Iterable[str], category: str = "object") -> ConceptTable:
    """A table of names numbered from 1, all of one category.

    >>> numbered(["red disc", "blue ring"]).concepts[1]
    Concept(number=2, name='blue ring', category='object')
    """
    return ConceptTable(
        tuple(Concept(number, name, category) for number, name in enumerate(names, 1))
    )


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

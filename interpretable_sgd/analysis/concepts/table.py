"""The vocabulary of a concept data set: a number, a name and a category for each label."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

SUFFIX = re.compile(r"-[a-z]$")


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
    def _position_of(self) -> NDArray[np.int32]:
        """From a number to a position, -1 for unlabelled, -2 for a number that no concept has."""
        numbers = np.array([concept.number for concept in self.concepts])
        lookup = np.full(numbers.max() + 1, -2, dtype=np.int32)
        lookup[0] = -1
        lookup[numbers] = np.arange(len(numbers), dtype=np.int32)
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
        lookup = self._position_of
        if numbers.size and (numbers.min() < 0 or numbers.max() >= len(lookup)):
            outside = numbers[(numbers < 0) | (numbers >= len(lookup))]
            raise ValueError(f"label {outside.min()} must be a number of the table, and is not")
        found = lookup[numbers]
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

"""Random streams: every image of every split owns one, so image ``i`` is the same however it is asked for."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")


def check_split(split: str) -> int:
    """Position of ``split`` in :data:`SPLITS`.

    >>> check_split("test")
    2
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return SPLITS.index(split)


def check_integer(name: str, value: int, low: int, high: int | None = None) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer in ``[low, high]``."""
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if integer and low <= value and (high is None or value <= high):
        return
    wanted = f"of at least {low}" if high is None else f"between {low} and {high}"
    raise ValueError(f"{name} must be an integer {wanted}, got {value!r}")


def check_real(name: str, value: float, low: float, high: float) -> None:
    """Raise ``ValueError`` unless ``value`` is a number in ``[low, high]``."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not (number and low <= value <= high):
        raise ValueError(f"{name} must be between {low} and {high}, got {value!r}")


def as_indices(which: int | Sequence[int]) -> list[int]:
    """Image numbers: the first ``which`` ones if it is an integer, else those it lists.

    >>> as_indices(3), as_indices([7, 2])
    ([0, 1, 2], [7, 2])
    """
    if isinstance(which, (int, np.integer)):
        check_integer("which", which, 1)
        return list(range(which))
    indices = [int(i) for i in which]
    if not indices or min(indices) < 0:
        raise ValueError(f"which must list image numbers of at least 0, got {list(which)!r}")
    return indices


class Streams:
    """One independent generator per image; each draw returns a batch with one row per image.

    A row depends on (seed, split, image number) and the order of draws only, never on the batch around it.

    Args:
        seed: integer >= 0.
        split: one of :data:`SPLITS`.
        indices: image numbers, integers >= 0.

    >>> whole = Streams(0, "train", [0, 1, 2]).uniform(4)
    >>> bool((Streams(0, "train", [2]).uniform(4) == whole[2:]).all()), whole.shape
    (True, (3, 4))
    """

    def __init__(self, seed: int, split: str, indices: Sequence[int]) -> None:
        code = check_split(split)
        self._generators = [
            np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(code, i))))
            for i in indices
        ]

    def uniform(self, *shape: int) -> NDArray[np.float32]:
        """Uniform numbers in [0, 1), shape (images, *shape)."""
        return np.stack([g.random(shape, dtype=np.float32) for g in self._generators])

    def normal(self, *shape: int) -> NDArray[np.float32]:
        """Standard normal numbers, shape (images, *shape)."""
        return np.stack([g.standard_normal(shape, dtype=np.float32) for g in self._generators])


def design_generator(seed: int) -> np.random.Generator:
    """The generator of what all splits share (compositions, glyph patterns); disjoint from every image's stream."""
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(len(SPLITS),)))
    )

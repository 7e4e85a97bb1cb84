"""Validation images are held out of the training images: as many of each class, always the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.datasets.rng import design_generator

Indices = NDArray[np.int_]


def hold_out(labels: Sequence[int] | Indices, each: int) -> tuple[Indices, Indices]:
    """Indices of the images that stay and of those held out, both ascending.

    The choice is a function of the labels alone, not of a run's seed: runs of several seeds are chosen
    between on the same images.

    Args:
        labels: class of each image, (n,).
        each: images of every class to hold out, >= 0; the smallest class keeps at least one.

    Raises:
        ValueError: ``each`` is negative, or takes a whole class.

    >>> stay, held = hold_out([0, 1, 0, 1, 0, 1], 1)
    >>> len(stay), sorted(np.array([0, 1, 0, 1, 0, 1])[held].tolist())
    (4, [0, 1])
    """
    labels = np.asarray(labels)
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    if not 0 <= each < smallest:
        raise ValueError(
            f"hold_out must be at least 0 and less than the {smallest} images of the smallest "
            f"class, got {each}"
        )
    shuffled = design_generator(0).permutation(len(labels))
    by_class = shuffled[labels[shuffled].argsort(kind="stable")]
    starts = np.searchsorted(labels[by_class], np.unique(labels))
    held = np.sort(by_class[(starts[:, None] + np.arange(each)).ravel()])
    return np.setdiff1d(np.arange(len(labels)), held), held


def usual(labels: Sequence[int] | Indices, most: int) -> int:
    """Images of each class to hold out unless told: a fifth of the smallest class, at most ``most``.

    >>> usual([0] * 5000 + [1] * 5000, most=500), usual([0] * 10, most=500)
    (500, 2)
    """
    return min(most, int(np.unique(np.asarray(labels), return_counts=True)[1].min()) // 5)

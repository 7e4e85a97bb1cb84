"""Concepts that make up a class, and further concepts that an image may show without changing its class."""

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

MOST_CANDIDATES = 50_000


def draw_composition(
    classes: int, concepts: int, parts: Sequence[int], generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw ``classes`` sets of concepts, none of which contains another.

    Sets of one size cannot contain one another; sets of a larger size that contain a smaller one already drawn are
    left out. Each draw takes the concepts used least so far, so all are used about equally often.

    Args:
        classes: number of sets, >= 2.
        concepts: number of concepts to choose from.
        parts: set sizes, ascending; every size but the largest gets an equal share of the classes,
            at most a sixth of its possible sets (more would leave too few larger ones).
        generator: source of randomness.

    Returns:
        Boolean tensor (classes, concepts), rows distinct.

    Raises:
        ValueError: if that many sets do not fit.

    >>> rows = draw_composition(24, 16, (2, 3), np.random.default_rng(0))
    >>> rows.shape, sorted(set(rows.sum(1).tolist()))
    ((24, 16), [2, 3])
    """
    rows = np.zeros((0, concepts), dtype=bool)
    for position, size in enumerate(parts):
        wanted = classes - len(rows)
        if position < len(parts) - 1:
            wanted = min(wanted // (len(parts) - position), comb(concepts, size) // 6)
        candidates = _subsets(concepts, size, generator)
        contained = (candidates.astype(np.float32) @ rows.T.astype(np.float32)) == rows.sum(1)
        candidates = candidates[~contained.any(1)]
        rows = np.concatenate([rows, _least_used(candidates, wanted, rows.sum(0), generator)])
    if len(rows) < classes:
        raise ValueError(
            f"classes must be at most {len(rows)} when concepts is {concepts}, got {classes}"
        )
    return rows[generator.permutation(classes)]


def _subsets(concepts: int, size: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    if comb(concepts, size) <= MOST_CANDIDATES:
        members = np.array(list(combinations(range(concepts), size)), dtype=int).reshape(-1, size)
    else:
        keys = generator.random((MOST_CANDIDATES // 10, concepts))
        members = np.unique(np.sort(keys.argsort(1)[:, :size], 1), axis=0)
    subsets = np.zeros((len(members), concepts), dtype=bool)
    np.put_along_axis(subsets, members, True, axis=1)
    return subsets


def _least_used(
    candidates: NDArray[np.bool_],
    wanted: int,
    use: NDArray[np.int_],
    generator: np.random.Generator,
) -> NDArray[np.bool_]:
    cost = candidates @ use + generator.random(len(candidates))
    overlap = candidates.astype(np.float32)
    chosen: list[int] = []
    for _ in range(min(wanted, len(candidates))):
        best = int(cost.argmin())
        chosen.append(best)
        cost += overlap @ overlap[best]
        cost[best] = np.inf
    return candidates[chosen]


def draw_distractors(
    composition: NDArray[np.bool_],
    labels: NDArray[np.int_],
    counts: NDArray[np.int_],
    keys: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Add concepts to each image's own, never so that another class becomes complete.

    Args:
        composition: boolean (classes, concepts).
        labels: class of each image, (n,).
        counts: distractors wanted in each image, (n,); fewer are added where no more are allowed.
        keys: one number in [0, 1) per image and concept, (n, concepts); the largest allowed ones win.

    Returns:
        Boolean (n, concepts): the distractors alone.

    >>> pairs = np.array([[1, 1, 0, 0], [0, 1, 1, 0]], dtype=bool)
    >>> draw_distractors(pairs, np.array([0]), np.array([3]), np.ones((1, 4), np.float32)).astype(int)
    array([[0, 0, 0, 1]])
    """
    rows = composition.astype(np.float32)
    own = composition[labels]
    shown = own.copy()
    images = np.arange(len(labels))
    for round_ in range(int(counts.max(initial=0))):
        missing = rows.sum(1) - shown.astype(np.float32) @ rows.T
        completing = ((missing == 1).astype(np.float32) @ rows) > 0
        allowed = ~shown & ~completing & (round_ < counts)[:, None]
        pick = np.where(allowed, keys, -1).argmax(1)
        shown[images, pick] |= allowed[images, pick]
    return shown & ~own

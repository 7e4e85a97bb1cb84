"""Other ways to count the pixels that masks and labels share, each as simple as it can be.

Index legend: ``n`` image, ``u`` unit, ``l`` label. Each returns the intersections, (u, l).
"""

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from interpretable_sgd.analysis.dissection import Labels

Maps = NDArray[np.float32]
Axis = tuple[NDArray[np.int64], NDArray[np.int64], Maps]


def per_image_and_unit(
    maps: Maps, thresholds: Maps, labels: Sequence[Labels], count: int
) -> NDArray[np.int64]:
    """Upsample each map, threshold it, and count the labels under its mask."""
    sums = np.zeros((maps.shape[1], count), dtype=np.int64)
    for units, image in zip(maps, labels, strict=True):
        rows, columns = _axis(units.shape[1], image.size[0]), _axis(units.shape[2], image.size[1])
        for u, map_ in enumerate(units):
            mask = (_upsampled(map_, rows, columns) > thresholds[u]).ravel()
            _look_up(sums[u], mask, image)
    return sums


def of_given_masks(
    masks: NDArray[np.bool_], labels: Sequence[Labels], count: int
) -> NDArray[np.int64]:
    """The same loop, with the masks (n, u, sh * sw) for nothing."""
    sums = np.zeros((masks.shape[1], count), dtype=np.int64)
    for units, image in zip(masks, labels, strict=True):
        for u, mask in enumerate(units):
            _look_up(sums[u], mask, image)
    return sums


def of_given_bits(
    bits: NDArray[np.uint64], labels: Sequence[Labels], count: int
) -> NDArray[np.int64]:
    """Masks with 64 pixels a word, (n, u, words), for nothing: AND with each label's, count bits."""
    sums = np.zeros((bits.shape[1], count), dtype=np.int64)
    for units, image in zip(bits, labels, strict=True):
        shown = np.unique(image.planes)
        shown = shown[shown >= 0]
        where = (image.planes[None] == shown[:, None, None]).any(1)
        everywhere = np.ones((len(image.whole), where.shape[1]), dtype=bool)
        found = np.zeros((len(units), len(shown) + len(image.whole)), dtype=np.int64)
        _common_bits(units, packed(np.concatenate([where, everywhere])), found)
        sums[:, np.append(shown, image.whole)] += found
    return sums


def packed(masks: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Booleans (..., pixels) as (..., words)."""
    spare = -masks.shape[-1] % 64
    padded = np.pad(masks, [(0, 0)] * (masks.ndim - 1) + [(0, spare)])
    return np.packbits(padded, axis=-1).view(np.uint64)


def _look_up(row: NDArray[np.int64], mask: NDArray[np.bool_], image: Labels) -> None:
    for plane in image.planes:
        row += np.bincount(plane[mask] + 1, minlength=len(row) + 1)[1:]
    row[image.whole] += mask.sum()


def _axis(source: int, target: int) -> Axis:
    at = ((np.arange(target) + 0.5) * (source / target) - 0.5).clip(0, source - 1)
    lower = at.astype(np.int64)
    return lower, np.minimum(lower + 1, source - 1), (at - lower).astype(np.float32)


def _upsampled(map_: Maps, rows: Axis, columns: Axis) -> Maps:
    lower, upper, way = rows
    tall = map_[lower] + (map_[upper] - map_[lower]) * way[:, None]
    lower, upper, way = columns
    return tall[:, lower] + (tall[:, upper] - tall[:, lower]) * way


@njit(nogil=True)
def _common_bits(units, labels, found):
    """found[u, l] = number of bits set in both."""
    a, b, c = (
        np.uint64(0x5555555555555555),
        np.uint64(0x3333333333333333),
        np.uint64(0x0F0F0F0F0F0F0F0F),
    )
    one, two, four = np.uint64(1), np.uint64(2), np.uint64(4)
    for u in range(len(units)):
        for l in range(len(labels)):
            total = np.uint64(0)
            for k in range(units.shape[1]):
                v = units[u, k] & labels[l, k]
                v -= (v >> one) & a
                v = (v & b) + ((v >> two) & b)
                v = (v + (v >> four)) & c
                total += (v * np.uint64(0x0101010101010101)) >> np.uint64(56)
            found[u, l] = total

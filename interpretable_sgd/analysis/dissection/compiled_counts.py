"""Counting on the CPU: finds the few pixels above a threshold and looks their labels up.

Index legend: ``n`` image, ``u`` unit, ``l`` label, ``k`` category, ``p`` pairing, ``q`` plane.

A bilinear value lies between its four corners (`upsampling` says why that holds to the last bit), so
only cells with a corner above the threshold are interpolated. Threads share units out: each adds to
rows of its own.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from interpretable_sgd.analysis.dissection.labels import Labels
from interpretable_sgd.analysis.dissection.pixel_counts import PixelCounts
from interpretable_sgd.analysis.dissection.upsampling import corners


def count_with_loops(
    counts: PixelCounts,
    maps: Tensor,
    thresholds: Tensor,
    labels: Sequence[Labels],
    which: Tensor,
    size: tuple[int, int],
) -> None:
    """As `tensor_counts.count_with_tensors`, on the CPU."""
    planes, first_plane = _ragged([each.planes for each in labels], size[0] * size[1])
    whole, first_whole = _ragged([each.whole[:, None] for each in labels], 1)
    arrays: tuple[Any, ...] = (
        np.ascontiguousarray(maps.numpy()),
        thresholds.numpy(),
        _axis(maps.shape[-2], size[0]),
        _axis(maps.shape[-1], size[1]),
        planes,
        first_plane,
        whole[:, 0],
        first_whole,
        np.stack([each.present for each in labels]),
        which.numpy(),
        counts.category_index.numpy(),
        counts.intersection.numpy(),
        counts.category.numpy(),
        counts.touched.numpy(),
    )
    units = maps.shape[1]
    threads = min(torch.get_num_threads(), units)
    cuts = [units * t // threads for t in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(_count, *arrays, *cut) for cut in pairwise(cuts)]
    for job in jobs:
        job.result()


def _ragged(parts: Sequence[Any], width: int) -> tuple[Any, Any]:
    """Rows of all parts below one another, and where each part begins; (rows, width), (parts + 1,)."""
    begins = np.cumsum([0, *map(len, parts)])
    return np.concatenate([part.reshape(-1, width) for part in parts]), begins


def _axis(source: int, target: int) -> tuple[Any, ...]:
    """Corners of an axis, and the targets that each source position reaches: from, to."""
    lower, upper, way = (tensor.numpy() for tensor in corners(source, target))
    every = np.arange(source)
    begin, end = np.searchsorted(upper, every), np.searchsorted(lower, every, side="right")
    return lower, upper, way, begin, end


def _compile(function: Any) -> Any:
    """Compile lazily, without the GIL, and keep the machine code on disk where that is possible."""
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no folder that numba could write to
        return njit(nogil=True, error_model="numpy")(function)


@_compile
def _hits(map_, threshold, rows, columns, highest, row, hits):
    """Write the pixels above the threshold to hits, in order; returns their number."""
    lower_y, upper_y, way_y, _, _ = rows
    lower_x, upper_x, way_x, begin, end = columns
    found = False
    for y in range(map_.shape[0]):
        highest[y] = map_[y].max()
        found |= highest[y] > threshold
    if not found:
        return 0
    width = len(lower_x)
    n = 0
    for y in range(len(lower_y)):
        above, below, way = lower_y[y], upper_y[y], way_y[y]
        if not (highest[above] > threshold or highest[below] > threshold):
            continue
        first, last = -1, -1
        for x in range(map_.shape[1]):
            row[x] = map_[above, x] + (map_[below, x] - map_[above, x]) * way
            if row[x] > threshold:
                first = x if first < 0 else first
                last = x
        if first < 0:
            continue
        for x in range(begin[first], end[last]):
            left, right = row[lower_x[x]], row[upper_x[x]]
            hits[n] = y * width + x
            n += left + (right - left) * way_x[x] > threshold
    return n


@_compile
def _look_up(plane, hits, n, category_index, counts, touched):
    """counts[l] += number of hits on label l; neighbours mostly share a label, so by runs."""
    label, start = plane[hits[0]], 0
    for j in range(n + 1):
        if j < n and plane[hits[j]] == label:
            continue
        if label >= 0:
            counts[label] += j - start
            touched[category_index[label]] = True
        if j < n:
            label, start = plane[hits[j]], j


@_compile
def _count(
    maps,
    thresholds,
    rows,
    columns,
    planes,
    first_plane,
    whole,
    first_whole,
    present,
    which,
    category_index,
    intersection,
    category,
    touched_area,
    first_unit,
    last_unit,
):
    # one more than there are pixels: a miss after the last hit writes there
    hits = np.empty(len(rows[0]) * len(columns[0]) + 1, np.int64)
    highest = np.empty(maps.shape[2], np.float32)
    row = np.empty(maps.shape[3], np.float32)
    touched = np.zeros(present.shape[1], np.bool_)
    for u in range(first_unit, last_unit):
        for i in range(maps.shape[0]):
            n = _hits(maps[i, u], thresholds[u], rows, columns, highest, row, hits)
            if n == 0:
                continue
            for p in range(which.shape[0]):
                j = which[p, i]
                if j < 0:
                    continue
                touched[:] = False
                for q in range(first_plane[j], first_plane[j + 1]):
                    _look_up(planes[q], hits, n, category_index, intersection[p, u], touched)
                for w in range(first_whole[j], first_whole[j + 1]):
                    intersection[p, u, whole[w]] += n
                    touched[category_index[whole[w]]] = True
                for k in range(len(touched)):
                    category[p, u, k] += n * present[j, k]
                    touched_area[p, u, k] += n * touched[k]

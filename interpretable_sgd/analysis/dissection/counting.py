"""Counting of a batch of images: which implementation, and labels of one size at a time.

Index legend: ``n`` image of a batch, ``u`` unit, ``p`` pairing.

A unit's mask covers half a percent of the pixels, so the work is to find those few and look their
labels up, not to compare masks: `compiled_counts` skips what lies below the threshold and never holds
an upsampled map. Without numba, `tensor_counts` does the same with torch. Maps of a GPU come here: raw, they
are small, and counting takes a fraction of the time that the model took.
"""

import importlib.util
import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from interpretable_sgd.analysis.dissection.labels import Labels
from interpretable_sgd.analysis.dissection.pixel_counts import PixelCounts
from interpretable_sgd.analysis.dissection.tensor_counts import count_with_tensors


def count(
    counts: PixelCounts,
    maps: Tensor,
    thresholds: Tensor,
    labels: Sequence[Labels],
    pairings: Tensor,
) -> None:
    """Add the pixels that masks and labels share to the counts.

    Args:
        counts: on the CPU.
        maps: raw maps, (n, u, h, w), float32, finite, on the CPU.
        thresholds: (u,), float32; a mask is where the upsampled map exceeds it.
        labels: what pairings point to.
        pairings: position in labels for each image, (p, n).
    """
    compiled = _compiled()
    implementation = count_with_tensors if compiled is None else compiled.count_with_loops
    for size in dict.fromkeys(each.size for each in labels):
        chosen = [j for j, each in enumerate(labels) if each.size == size]
        position = torch.full((len(labels),), -1, dtype=torch.int64)
        position[chosen] = torch.arange(len(chosen))
        group = [labels[j] for j in chosen]
        implementation(counts, maps, thresholds, group, position[pairings], size)


@cache
def _compiled() -> Any:
    """The module of compiled counting, or None where numba is not installed."""
    if importlib.util.find_spec("numba") is None:
        logging.getLogger(__name__).warning(
            "numba is not installed: dissection counts with plain torch, many times slower; "
            'pip install "interpretable-sgd[kernels]"'
        )
        return None
    return importlib.import_module("interpretable_sgd.analysis.dissection.compiled_counts")

"""Counting with torch alone: the pixels above a threshold, and their labels, gathered.

Index legend: ``n`` image, ``u`` unit, ``l`` label, ``k`` category, ``p`` pairing, ``t`` pixel of a
mask, whichever unit's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from interpretable_sgd.analysis.dissection.labels import Labels
from interpretable_sgd.analysis.dissection.pixel_counts import PixelCounts
from interpretable_sgd.analysis.dissection.upsampling import upsample


def count_with_tensors(
    counts: PixelCounts,
    maps: Tensor,
    thresholds: Tensor,
    labels: Sequence[Labels],
    which: Tensor,
    size: tuple[int, int],
) -> None:
    """Add the pixels that masks and labels share.

    Args:
        counts: added to.
        maps: (n, u, h, w), float32.
        thresholds: (u,), float32.
        labels: all of one size.
        which: position in labels of each image, (p, n); -1 where there is none.
        size: of the labels.
    """
    for image, single in enumerate(maps):
        # bilinear values never exceed the largest corner: other units have no mask here
        active = (single.amax((-2, -1)) > thresholds).nonzero().flatten()
        if not len(active):
            continue
        masks = upsample(single[active], size) > thresholds[active, None, None]
        unit, pixel = masks.flatten(1).nonzero(as_tuple=True)
        for pairing, position in enumerate(which[:, image].tolist()):
            if position >= 0:
                _add_pairing(counts, pairing, active, unit, pixel, labels[position])


def _add_pairing(
    counts: PixelCounts, pairing: int, active: Tensor, unit: Tensor, pixel: Tensor, labels: Labels
) -> None:
    """unit (t,) counts within active (u,)."""
    units, width = len(active), len(counts.category_index)
    area = torch.bincount(unit, minlength=units)
    both = torch.zeros(units, width, dtype=torch.int64)
    for plane in torch.from_numpy(labels.planes):
        label = plane[pixel]
        shown = label >= 0
        # one histogram over (unit, label) pairs
        slot = unit[shown] * width + label[shown]
        both += torch.bincount(slot, minlength=units * width).view(units, width)
    both[:, torch.from_numpy(labels.whole)] += area[:, None]
    counts.intersection[pairing, active] += both
    counts.category[pairing, active] += area[:, None] * torch.from_numpy(labels.present)
    touched = torch.zeros(units, len(labels.present), dtype=torch.int64)
    touched.index_add_(1, counts.category_index, both)
    counts.touched[pairing, active] += area[:, None] * (touched > 0)

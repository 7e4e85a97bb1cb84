"""Counting with torch alone: masks times labels, as a product of 0/1 matrices.

Index legend: ``n`` image, ``u`` unit, ``l`` label, ``k`` category, ``p`` pairing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from interpretable_sgd.analysis.dissection.labels import Labels
from interpretable_sgd.analysis.dissection.tally import Tally
from interpretable_sgd.analysis.dissection.upsampling import upsample

EXACT_IN_FLOAT32 = 2**24


def count_with_matrices(
    tally: Tally,
    maps: Tensor,
    thresholds: Tensor,
    labels: Sequence[Labels],
    which: Tensor,
    size: tuple[int, int],
) -> None:
    """Add the pixels that masks and labels share.

    A product of 0/1 matrices in floating point counts exactly below 2^24 pixels.

    Args:
        tally: added to, on the CPU.
        maps: (n, u, h, w), float32.
        thresholds: (u,), float32.
        labels: all of one size.
        which: position in labels of each image, (p, n); -1 where there is none.
        size: of the labels.
    """
    dtype = torch.float32 if size[0] * size[1] < EXACT_IN_FLOAT32 else torch.float64
    for image, single in enumerate(maps):
        active = (single.amax((-2, -1)) > thresholds).nonzero().flatten()
        if not len(active):
            continue
        raised = upsample(single[active], size) > thresholds[active, None, None]
        masks = raised.flatten(1).to(dtype)
        area = masks.sum(1).long()
        for pairing, position in enumerate(which[:, image].tolist()):
            if position >= 0:
                _add_pairing(tally, pairing, active, masks, area, labels[position])


def _add_pairing(
    tally: Tally, pairing: int, units: Tensor, masks: Tensor, area: Tensor, labels: Labels
) -> None:
    planes = torch.from_numpy(labels.planes)
    shown = planes.unique()
    shown = shown[shown >= 0]
    # one plane at a time: a pixel's labels in different planes differ, so the sum counts each once
    both = masks.new_zeros(len(masks), len(shown))
    for plane in planes:
        both += masks @ (plane[:, None] == shown).to(masks.dtype)
    counts = both.long()
    positions = torch.cat([shown.long(), torch.from_numpy(labels.whole)])
    counts = torch.cat([counts, area[:, None].expand(-1, len(labels.whole))], 1)
    tally.intersection[pairing].index_put_(
        (units[:, None], positions[None, :]), counts, accumulate=True
    )
    present = torch.from_numpy(labels.present)
    tally.category[pairing, units] += area[:, None] * present
    touched = torch.zeros(len(units), len(present), dtype=torch.int64)
    touched.index_add_(1, tally.category_index[positions], counts)
    tally.touched[pairing, units] += area[:, None] * (touched > 0)

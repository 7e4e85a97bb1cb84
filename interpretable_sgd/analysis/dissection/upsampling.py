"""Bilinear upsampling of unit maps to the size of the labels.

The interpolation of ``torch.nn.functional.interpolate(..., align_corners=False)``, written as
differences, a + f (b - a), each operation rounded on its own. Two things follow that counting needs
and a library's fused kernels do not promise: every device and every kernel here gives the same bits,
and a value never exceeds the largest of its four corners, so cells below a threshold can be skipped.
"""

import torch
from torch import Tensor


def corners(source: int, target: int) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbours of each target position on an axis, and the way between them.

    Position t lies at s = max((t + 1/2) source / target - 1/2, 0) of the source.

    Args:
        source: length of the map, >= 1.
        target: length wanted, >= 1.

    Returns:
        Lower and upper neighbour, int64, and fraction, float32 in [0, 1), (target,) each.

    >>> corners(2, 4)
    (tensor([0, 0, 0, 1]), tensor([1, 1, 1, 1]), tensor([0.0000, 0.2500, 0.7500, 0.0000]))
    """
    at = (torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5
    at = at.clamp(0, source - 1)
    lower = at.long()
    return lower, (lower + 1).clamp(max=source - 1), (at - lower).float()


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps at the size of the labels, first down the columns, then along the rows.

    Args:
        maps: (..., h, w), float32.
        size: (sh, sw).

    Returns:
        (..., sh, sw).

    >>> upsample(torch.tensor([[0.0, 1.0]]), (1, 4))
    tensor([[0.0000, 0.2500, 0.7500, 1.0000]])
    """
    for axis, target in ((-2, size[0]), (-1, size[1])):
        lower, upper, way = (t.to(maps.device) for t in corners(maps.shape[axis], target))
        first, second = maps.index_select(axis, lower), maps.index_select(axis, upper)
        way = way.unsqueeze(-1) if axis == -2 else way
        maps = first + (second - first) * way
    return maps

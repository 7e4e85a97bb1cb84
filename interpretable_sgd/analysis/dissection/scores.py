"""Intersection over union, labels and detectors, from counts of pixels.

Index legend: ``u`` unit, ``l`` label, ``k`` category, ``p`` permutation.
"""

from typing import Literal

import torch
from torch import Tensor

ImageSet = Literal["category", "touched"]
IMAGE_SETS: tuple[ImageSet, ...] = ("category", "touched")
DETECTOR = 0.04


def check_image_set(image_set: str) -> None:
    """Raise unless the convention has a name here."""
    if image_set not in IMAGE_SETS:
        raise ValueError(f"image_set must be one of {IMAGE_SETS}, got {image_set!r}")


def intersection_over_union(
    intersection: Tensor, unit_area: Tensor, label_area: Tensor, category: Tensor
) -> Tensor:
    r"""IoU of every unit with every label.

    .. math:: IoU_{ul} = \frac{|M_u \cap L_l|}{|M_u|_{k(l)} + |L_l| - |M_u \cap L_l|}

    where the area of a unit is summed over the images of the label's category. (Bau et al., Network
    Dissection, CVPR 2017, equation 1; which images are of a category, `Dissection` says.)

    Args:
        intersection: pixels in both masks, (..., u, l).
        unit_area: pixels of a unit's mask over the images of each category, (..., u, k).
        label_area: pixels of each label, (..., l).
        category: position of each label's category, (l,).

    Returns:
        (..., u, l), float64 in [0, 1]; 0 where neither has a pixel.

    >>> one = torch.tensor
    >>> intersection_over_union(one([[2, 0]]), one([[4]]), one([2, 0]), one([0, 0])).tolist()
    [[0.5, 0.0]]
    """
    # |M u L| = |M| + |L| - |M n L|, with |M| over the images of the label's category
    union = unit_area[..., category] + label_area.unsqueeze(-2) - intersection
    return intersection.double() / union.clamp(min=1)


def best_labels(iou: Tensor) -> tuple[Tensor, Tensor]:
    """Label of the largest IoU of each unit, the first of equal ones, and that IoU.

    Args:
        iou: (..., u, l).

    Returns:
        Positions (..., u), -1 where every IoU is 0, and values (..., u).

    >>> best_labels(torch.tensor([[0.1, 0.3], [0.0, 0.0]], dtype=torch.float64))
    (tensor([ 1, -1]), tensor([0.3000, 0.0000], dtype=torch.float64))
    """
    best = iou.amax(-1)
    return torch.where(best > 0, iou.argmax(-1), -1), best

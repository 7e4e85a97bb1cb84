"""Inputs of a model as pictures, and maps of units as heat over them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Picture = Callable[[Tensor], Tensor]


def stretched(image: Tensor) -> Tensor:
    """A model's input as a picture in [0, 1]: as it is if it lies there, else stretched to it.

    >>> stretched(torch.tensor([-1.0, 1.0])).tolist()
    [0.0, 1.0]
    """
    low, high = min(0.0, float(image.min())), max(1.0, float(image.max()))
    return (image - low) / (high - low)


def denormalized(mean: Sequence[float], std: Sequence[float]) -> Picture:
    """The inverse of `torchvision.transforms.Normalize`, as a function for `picture=`.

    >>> denormalized([0.5], [0.25])(torch.tensor([[[2.0]]])).item()
    1.0
    """
    shape = (-1, 1, 1)
    centre, scale = torch.tensor(mean).view(shape), torch.tensor(std).view(shape)
    return lambda image: (image * scale + centre).clamp(0, 1)


def heat(activation: Tensor, size: tuple[int, int]) -> Tensor:
    """A unit's map over its image, in [0, 1]: 0 at its least value, 1 at its largest.

    Bilinear between the centres of positions (`align_corners=False`), each side on its own: the
    heat has the image's shape, whatever the map's. A flat map says nothing of where: it gives zeros.

    Args:
        activation: (..., h, w).
        size: height and width of the image.

    Returns:
        (..., height, width).

    >>> heat(torch.tensor([[0.0, 4.0]]), (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    >>> heat(torch.ones(2, 2), (2, 2)).sum().item()
    0.0
    """
    planes = activation.reshape(-1, 1, *activation.shape[-2:]).float()
    planes = functional.interpolate(planes, size, mode="bilinear", align_corners=False)
    low = planes.amin((2, 3), keepdim=True)
    span = planes.amax((2, 3), keepdim=True) - low
    scaled = (planes - low) / torch.where(span > 0, span, 1)
    return scaled.reshape(*activation.shape[:-2], *size)


def as_bytes(picture: Tensor) -> Tensor:
    """Grey or RGB in [0, 1] as RGB in 0 .. 255, (3, h, w), uint8."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).expand(3, -1, -1).contiguous()


def shrunk(picture: Tensor, side: int) -> Tensor:
    """A picture whose longest side is at most `side`, its proportions kept, (channels, h, w).

    >>> shrunk(torch.rand(3, 100, 50), 20).shape
    torch.Size([3, 20, 10])
    """
    height, width = picture.shape[1:]
    longest = max(height, width)
    if longest <= side:
        return picture
    size = (max(1, round(height * side / longest)), max(1, round(width * side / longest)))
    return functional.interpolate(picture[None].float(), size, mode="area")[0]

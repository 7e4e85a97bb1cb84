"""Pictures of a model's inputs, and heat of units' maps over them."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from interpretable_sgd.analysis.batches import tensors

Picture = Callable[[Tensor], Tensor]


def stretched(image: Tensor) -> Tensor:
    """A model's input as a picture in [0, 1]: as it is if it lies there, else stretched to it.

    >>> stretched(torch.tensor([-1.0, 1.0])).tolist()
    [0.0, 1.0]
    """
    low, high = min(0.0, float(image.min())), max(1.0, float(image.max()))
    return (image.float() - low) / (high - low)


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


def as_picture(
    image: object, picture: Picture | None = stretched, side: int | None = None
) -> Tensor | None:
    """An input as RGB in 0 .. 255, (3, h, w), uint8; None where it is no picture.

    One channel is grey, three are red, green and blue; of any other number, the mean is grey.

    Args:
        image: one input of a model, on the CPU; of a mapping the tensor of three dimensions.
        picture: turns it to a picture in [0, 1], (channels, h, w); None for no picture.
        side: of the longest side, to which larger pictures shrink; None for as it is.

    Raises:
        ValueError: a picture of one's own gives something else.

    >>> as_picture(torch.rand(4, 8, 8)).shape, as_picture(torch.rand(8))
    (torch.Size([3, 8, 8]), None)
    """
    if isinstance(image, Mapping):  # as {"pixel_values": ...} of transformers
        image = next((value for value in tensors(image) if value.dim() == 3), None)
    if picture is None or not isinstance(image, Tensor):
        return None
    if picture is stretched and image.dim() != 3:
        return None
    shown = picture(image)
    if not isinstance(shown, Tensor) or shown.dim() != 3:
        got = tuple(shown.shape) if isinstance(shown, Tensor) else type(shown).__name__
        raise ValueError(f"picture must give a picture (channels, h, w), got {got}")
    return as_bytes(shown if side is None else shrunk(shown, side))


def as_bytes(picture: Tensor) -> Tensor:
    """A picture in [0, 1] as RGB in 0 .. 255, (3, h, w), uint8."""
    if picture.shape[0] not in (1, 3):
        picture = picture.float().mean(0, keepdim=True)
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

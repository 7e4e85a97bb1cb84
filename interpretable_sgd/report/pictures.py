"""Images with what a unit sees in them, as compressed data inside the page."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from interpretable_sgd.analysis.images import heat

Bytes = NDArray[np.uint8]
QUALITY = 72
SIDE = 224  # longest side of a picture in the page, in pixels
TILE = 96
GAP = 4


def enlarged(picture: Tensor, side: int = SIDE) -> Tensor:
    """A picture (3, h, w), uint8, whose longest side is `side`; small ones keep their pixels sharp."""
    height, width = picture.shape[1:]
    scale = side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    mode = "nearest-exact" if scale > 2 else "area" if scale < 1 else "bilinear"
    return functional.interpolate(picture[None].float(), size, mode=mode)[0].byte()


def spotlight(picture: Tensor, activation: Tensor | None) -> Tensor:
    """The picture where a unit is active, outlined at half its peak; dim and grey where it is not.

    Args:
        picture: (3, h, w), uint8.
        activation: its map, (h', w'); None leaves the picture as it is.
    """
    if activation is None:
        return picture
    seen = heat(activation, (picture.shape[1], picture.shape[2])).clamp(0, 1)
    return outlined(_lit(picture, seen**0.8), (seen > 0.5).float())


def masked(picture: Tensor, activation: Tensor, threshold: float) -> Tensor:
    """The picture where the upsampled map exceeds a threshold, outlined; dim and grey elsewhere."""
    planes = activation[None, None].float()
    size = (picture.shape[1], picture.shape[2])
    inside = functional.interpolate(planes, size, mode="bilinear", align_corners=False)[0, 0]
    mask = (inside > threshold).float()
    return outlined(_lit(picture, mask), mask)


def outlined(picture: Tensor, mask: Tensor) -> Tensor:
    """The picture with a white line around a mask and a black one around that: seen on any ground.

    Args:
        picture: (3, h, w), uint8.
        mask: (h, w), 0 or 1.
    """
    white, black = (
        functional.max_pool2d(mask[None, None], side, 1, side // 2)[0, 0] for side in (3, 5)
    )
    framed = torch.where((black > white)[None], torch.zeros_like(picture), picture)
    return torch.where((white > mask)[None], torch.full_like(picture, 255), framed)


def _lit(picture: Tensor, light: Tensor) -> Tensor:
    colour = picture.float()
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    dim = 0.32 * (colour * weights).sum(0, keepdim=True).expand(3, -1, -1) + 14
    return (light * colour + (1 - light) * dim).round().clamp(0, 255).byte()


def strip(pictures: Sequence[Tensor], side: int = TILE) -> Image.Image:
    """Pictures side by side in square cells, proportions kept."""
    width = len(pictures) * side + GAP * (len(pictures) - 1)
    sheet = Image.new("RGBA", (max(1, width), side), (0, 0, 0, 0))
    for i, picture in enumerate(pictures):
        small = as_image(enlarged(picture, side))
        left = i * (side + GAP) + (side - small.width) // 2
        sheet.paste(small, (left, (side - small.height) // 2))
    return sheet


def as_image(picture: Tensor) -> Image.Image:
    """A tensor (3, h, w), uint8, as an image of the imaging library."""
    return Image.fromarray(np.ascontiguousarray(picture.permute(1, 2, 0).numpy()))


def data_uri(image: Image.Image | Tensor, quality: int = QUALITY) -> str:
    """A picture as the text of a link to its own WebP data."""
    image = as_image(image) if isinstance(image, Tensor) else image
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()

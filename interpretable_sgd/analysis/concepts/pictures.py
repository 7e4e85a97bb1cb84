"""Files of images and of labels as arrays; what cannot be read is a `ConceptError`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interpretable_sgd.analysis.concepts.samples import ConceptError

WIDE = ("I", "F", "I;16", "I;16B", "I;16L")
# what pillow raises for files that are missing, cut off, of no known format or dangerously large
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A pillow image of a file, decoded; errors inside become a `ConceptError` with the file's name."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            yield image
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        if isinstance(error, ConceptError):
            raise
        raise ConceptError(f"{path} cannot be read: {error}") from None


def read_image(path: Path) -> Tensor:
    """An image as (3, h, w), uint8; grey, palette and CMYK become RGB, transparency is dropped.

    Raises:
        ConceptError: the file cannot be read, or has more than 8 bits a channel.
    """
    with opened(path) as image:
        return colours(image)


def read_numbers(path: Path) -> NDArray[np.int64]:
    """Label numbers of a label image, (sh, sw).

    Grey, 16-bit grey and palette images hold the number itself; RGB holds red + 256 green, blue 0.

    Raises:
        ConceptError: the file cannot be read, or holds something else.
    """
    with opened(path) as image:
        return numbers(image)


def colours(image: Any) -> Tensor:
    """Pixels of a pillow image as (3, h, w), uint8.

    Raises:
        ConceptError: more than 8 bits a channel.
    """
    if image.mode in WIDE:
        raise ConceptError(f"an image must have 8 bits a channel, got mode {image.mode}")
    return torch.from_numpy(np.array(image.convert("RGB")).transpose(2, 0, 1).copy())


def numbers(image: Any) -> NDArray[np.int64]:
    """Label numbers of a pillow image or an array, (sh, sw).

    Raises:
        ConceptError: neither single numbers nor red + 256 green.
    """
    pixels = np.asarray(image)
    if pixels.dtype.kind not in "biu":
        raise ConceptError(f"a label image must hold integers, got {pixels.dtype}")
    # before any arithmetic: 256 times a byte overflows
    pixels = pixels.astype(np.int64)
    if pixels.ndim == 2:
        return pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ConceptError(f"a label image must have one channel or three, got {pixels.shape}")
    if pixels[..., 2].any():
        raise ConceptError("a label image in colour must be red + 256 green, got blue other than 0")
    return pixels[..., 0] + 256 * pixels[..., 1]

"""Image files as arrays, and folders of them; what cannot be read is a `ConceptError`."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interpretable_sgd.analysis.concepts.table import ConceptError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
DEEP = ("I;16", "I;16B", "I;16L", "I;16N")  # modes of 16 bits a channel


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A pillow image of a file, decoded; errors inside become a `ConceptError` with the file's name.

    Raises:
        ConceptError: the file is missing, cut off, damaged, of no known format or dangerously large.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            yield image
    except ConceptError:
        raise
    # Damaged files raise nearly anything in pillow's readers, struct.error and IndexError among them.
    except Exception as error:
        reason = printable(" ".join(str(error).split()) or type(error).__name__)
        raise ConceptError(f"{printable(path)[:300]} cannot be read: {reason[:300]}") from None


def eight_bits(image: Any) -> Any:
    """A pillow image of 8 bits a channel: deeper grey is scaled by its mode's range.

    16 bits are 0 .. 65535; floating point is 0 .. 1. What a 32-bit integer means is not known unless
    it fits 16 bits, as pillow opens some 16-bit files so.

    Raises:
        ConceptError: the values are in no such range.
    """
    shares = unit_range(image)
    if shares is None:
        return image
    from PIL import Image

    return Image.fromarray((shares * 255).round().astype(np.uint8))


def unit_range(image: Any) -> NDArray[np.float32] | None:
    """Values of a grey image of more than 8 bits, in [0, 1], (h, w); None for one of 8 bits.

    Raises:
        ConceptError: the values are in no range that is known.
    """
    if image.mode not in (*DEEP, "I", "F"):
        return None
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ConceptError("an image must have finite values")
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    most = 1.0 if image.mode == "F" else 65535.0
    if low < 0 or high > most:
        raise ConceptError(
            f"an image of mode {image.mode} must have values in 0 .. {most:g}, "
            f"got {low:g} .. {high:g}"
        )
    return (values / most).astype(np.float32)


def printable(text: object) -> str:
    """A name that can be written as UTF-8 in one line.

    Bytes of a file name that are no UTF-8 become a mark, line breaks become blanks.
    """
    return " ".join(os.fsencode(str(text)).decode("utf-8", "replace").splitlines())


def image_files(folder: Path, suffixes: Sequence[str] = IMAGES) -> list[Path]:
    """Image files below a folder in the order of their names; nothing that is hidden.

    Links to folders are followed, each folder once: a link to a folder above would not end.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(root, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes
        ]
    return sorted(path for path in found if path.is_file())


def read_image(path: Path) -> Tensor:
    """An image as (3, h, w), uint8; grey, palette and CMYK become RGB, transparency is dropped.

    Raises:
        ConceptError: the file cannot be read, or holds values of no known range.
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
        ConceptError: the values are of no known range.
    """
    pixels = np.array(eight_bits(image).convert("RGB"))
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


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

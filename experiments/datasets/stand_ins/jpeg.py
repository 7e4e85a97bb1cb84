"""Drawn images as JPEG files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

QUALITY = 95


def save(file: Path, image: Tensor) -> None:
    """Write an image (3, h, w), floats in [0, 1]; colours at full resolution, as concepts are small."""
    picture = functional.to_pil_image((255 * image).round().to(torch.uint8))
    picture.save(file, format="JPEG", quality=QUALITY, subsampling=0)

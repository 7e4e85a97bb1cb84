"""A unit as figures show it: its number, its concept, and the images that excite it most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import interpolate

from experiments.evaluation.selection import STAGES
from experiments.figures.labels import wrapped

DIM = 0.4  # of the light outside a unit's region


class Unit(NamedTuple):
    """One unit.

    Attributes:
        number: counted from 0.
        name: of its concept; "" where it has none.
        iou: with it; None where units are not labelled.
        pictures: that excite it most, (j, h, w, 3), bytes.
        regions: where it exceeds its threshold there, (j, h, w), bool.
    """

    number: int
    name: str
    iou: float | None
    pictures: np.ndarray
    regions: np.ndarray

    @property
    def words(self) -> str:
        """On a few lines; the concept only where there is one."""
        if self.iou is None:
            return f"unit {self.number}"
        return f"unit {self.number}\n{wrapped(self.name or 'no concept', 14)}\nIoU {self.iou:.2f}"


def label(arrays: Mapping[str, np.ndarray], stage: str, unit: int) -> tuple[str, float | None]:
    """Concept and IoU of a stage's unit; ("", None) where units are not labelled."""
    reader = STAGES[stage].removeprefix("inner:")
    names, iou = (
        ("unit_names", "unit_iou")
        if reader == "weight"
        else (f"inner_in_names:{reader}", f"inner_in_iou:{reader}")
    )
    if iou not in arrays:
        return "", None
    return str(arrays[names][unit]), float(arrays[iou][unit])


def unit(arrays: Mapping[str, np.ndarray], stage: str, number: int) -> Unit:
    """A unit that `experiments.evaluation.metrics.explained` has stored pictures of."""
    place = int(np.flatnonzero(arrays[f"top_units:{stage}"] == number)[0])
    count = int(arrays[f"top_counts:{stage}"][place])
    pictures = arrays[f"top_pictures:{stage}"][place, :count]
    maps = arrays[f"top_maps:{stage}"][place, :count]
    regions = upsampled(maps, pictures.shape[1:3]) > arrays[f"top_thresholds:{stage}"][place]
    return Unit(number, *label(arrays, stage, number), pictures, regions)


def upsampled(maps: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bilinear between the centres of positions, as dissection does it, (j, h', w') to (j, h, w)."""
    if not len(maps):
        return np.empty((0, *size))
    planes = torch.from_numpy(maps.astype(np.float32))[:, None]
    return interpolate(planes, size, mode="bilinear", align_corners=False)[:, 0].numpy()


def lit(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    """A picture, darker outside the region."""
    return (picture * np.where(region, 1.0, DIM)[..., None]).astype(np.uint8)

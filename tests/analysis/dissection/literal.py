"""Network dissection in sets of pixels and loops: the oracle of the counts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from interpretable_sgd.analysis.concepts import ConceptSample, ConceptTable

Pixel = tuple[int, int]


class Counts(NamedTuple):
    intersection: Tensor
    category: Tensor
    touched: Tensor
    label_area: Tensor


def pixels_of(sample: ConceptSample, number: int) -> set[Pixel]:
    """Where a label is, in whichever planes."""
    height, width = sample.size
    found: set[Pixel] = set()
    for entry in sample.labels:
        for y in range(height):
            for x in range(width):
                value = entry[y, x] if isinstance(entry, np.ndarray) else entry
                if value == number:
                    found.add((y, x))
    return found


def counts(
    maps: Tensor, thresholds: Tensor, samples: Sequence[ConceptSample], table: ConceptTable
) -> Counts:
    units, labels, categories = maps.shape[1], len(table), len(table.categories)
    found = Counts(
        torch.zeros(units, labels, dtype=torch.int64),
        torch.zeros(units, categories, dtype=torch.int64),
        torch.zeros(units, categories, dtype=torch.int64),
        torch.zeros(labels, dtype=torch.int64),
    )
    for single, sample in zip(maps, samples, strict=True):
        where = [pixels_of(sample, concept.number) for concept in table.concepts]
        for l, pixels in enumerate(where):
            found.label_area[l] += len(pixels)
        large = functional.interpolate(
            single[None], sample.size, mode="bilinear", align_corners=False
        )[0]
        for u in range(units):
            mask = {
                (y, x)
                for y in range(sample.size[0])
                for x in range(sample.size[1])
                if large[u, y, x] > thresholds[u]
            }
            for l, pixels in enumerate(where):
                found.intersection[u, l] += len(mask & pixels)
            for k, category in enumerate(table.categories):
                own = [
                    pixels
                    for pixels, concept in zip(where, table.concepts, strict=True)
                    if concept.category == category
                ]
                found.category[u, k] += len(mask) * any(own)
                found.touched[u, k] += len(mask) * any(mask & pixels for pixels in own)
    return found

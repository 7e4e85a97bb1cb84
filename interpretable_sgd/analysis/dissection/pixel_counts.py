"""Counts of pixels that units' masks and labels share, added up image by image.

Index legend: ``u`` unit, ``l`` label, ``k`` category, ``p`` pairing of units' maps with labels: the
first is the true one, the others are permuted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interpretable_sgd.analysis.concepts.table import ConceptTable
from interpretable_sgd.analysis.dissection.labels import Labels
from interpretable_sgd.analysis.dissection.scores import intersection_over_union


@dataclass(frozen=True)
class PixelCounts:
    """Sums over images; memory depends on units and labels, not on images.

    Args:
        intersection: pixels in the masks of unit and label, (p, u, l), int64.
        category: pixels of a unit's mask over images of a category, (p, u, k), int64.
        touched: the same over images in which the mask touches the category, (p, u, k), int64.
        label_area: pixels of a label, (l,), int64.
        category_index: category of each label, (l,).
    """

    intersection: Tensor
    category: Tensor
    touched: Tensor
    label_area: Tensor
    category_index: Tensor

    @classmethod
    def zeros(cls, pairings: int, units: int, table: ConceptTable) -> "PixelCounts":
        """Nothing counted yet."""
        labels, categories = len(table), len(table.categories)
        return cls(
            torch.zeros(pairings, units, labels, dtype=torch.int64),
            torch.zeros(pairings, units, categories, dtype=torch.int64),
            torch.zeros(pairings, units, categories, dtype=torch.int64),
            torch.zeros(labels, dtype=torch.int64),
            torch.from_numpy(table.category_index),
        )

    def add_areas(self, labels: Sequence[Labels]) -> None:
        """Count the labels' own pixels; once for each image."""
        for each in labels:
            self.label_area.add_(torch.from_numpy(each.area))

    def best(self, image_set: str) -> Tensor:
        """Best IoU of each unit in each pairing, (p, u), float64."""
        areas = getattr(self, image_set)
        # one pairing at a time: all together would hold p * u * l numbers of 8 bytes once more
        return torch.stack(
            [
                intersection_over_union(both, area, self.label_area, self.category_index).amax(-1)
                for both, area in zip(self.intersection, areas, strict=True)
            ]
        )

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        names = ("intersection", "category", "touched", "label_area")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what a checkpoint kept."""
        for name, tensor in state.items():
            getattr(self, name).copy_(tensor)

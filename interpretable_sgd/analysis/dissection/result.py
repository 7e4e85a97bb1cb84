"""Result of a dissection: counts and what follows from them.

Index legend: ``u`` unit, ``l`` label, ``k`` category, ``p`` permutation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from interpretable_sgd.analysis.concepts.table import ConceptTable
from interpretable_sgd.analysis.dissection import null as chance
from interpretable_sgd.analysis.dissection import scores
from interpretable_sgd.analysis.dissection.scores import DETECTOR, ImageSet


@dataclass(frozen=True)
class Dissection:
    """The concepts that a layer's units show.

    Which images count for the area of a unit, when it is compared with a label of some category:

    - ``"category"``: those in which any label of the category is present (Network Dissection);
    - ``"touched"``: those in which the unit's mask itself touches such a label (NetDissect-Lite).
      Fewer images, so an IoU is never smaller.

    Both are kept; ``image_set`` says which one decides labels.

    Args:
        layer: dotted name of the dissected module.
        table: names of the labels.
        image_set: the convention that ``label``, ``best`` and the null follow.
        quantile: share of positions above a unit's threshold.
        thresholds: (u,), float32; a unit's mask is where its upsampled map exceeds it.
        rank_error: standard error of the share of positions above a threshold; 0 where exact.
        intersection: pixels in both masks, (u, l), int64.
        unit_area: by convention, pixels of a unit's mask over the images of a category, (u, k), int64.
        label_area: pixels of a label, (l,), int64.
        null: best IoU of each unit under permuted labels, (p, u), float64; p is 0 where none was asked.
        images: number of images read.
        skipped: name and reason of each sample that could not be read.
    """

    layer: str
    table: ConceptTable
    image_set: ImageSet
    quantile: float
    thresholds: Tensor
    rank_error: float
    intersection: Tensor
    unit_area: Mapping[str, Tensor]
    label_area: Tensor
    null: Tensor
    images: int
    skipped: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return (
            f"Dissection(layer {self.layer!r}, {self.units} units, {len(self.table)} concepts, "
            f"{self.images} images, {int(self.detectors().sum())} detectors)"
        )

    @property
    def units(self) -> int:
        """Number of units, u."""
        return len(self.thresholds)

    @cached_property
    def iou(self) -> dict[str, Tensor]:
        """IoU of every unit with every label by convention, (u, l), float64."""
        category = torch.from_numpy(self.table.category_index)
        return {
            name: scores.intersection_over_union(self.intersection, area, self.label_area, category)
            for name, area in self.unit_area.items()
        }

    @cached_property
    def _best(self) -> tuple[Tensor, Tensor]:
        return scores.best_labels(self.iou[self.image_set])

    @property
    def label(self) -> Tensor:
        """Position in the table of each unit's best label, (u,); -1 for a unit that shows none."""
        return self._best[0]

    @property
    def best(self) -> Tensor:
        """IoU of each unit with its label, (u,), float64."""
        return self._best[1]

    def concept_of(self, unit: int) -> str | None:
        """Name of a unit's label, None where its mask meets no label."""
        label = int(self.label[unit])
        return None if label < 0 else self.table.concepts[label].title

    def best_in(self, category: str) -> tuple[Tensor, Tensor]:
        """Best label and IoU of each unit among the concepts of one category, (u,) each.

        Raises:
            ValueError: no concept has this category.
        """
        if category not in self.table.categories:
            raise ValueError(f"category must be one of {self.table.categories}, got {category!r}")
        position = self.table.categories.index(category)
        members = torch.from_numpy(self.table.category_index == position)
        return scores.best_labels(self.iou[self.image_set].where(members, 0))

    def detectors(self, threshold: float = DETECTOR) -> Tensor:
        """Whether a unit's IoU reaches the threshold, (u,), bool."""
        return (self.best >= threshold) & (self.label >= 0)

    def unique_detectors(self, threshold: float = DETECTOR) -> int:
        """Number of distinct labels among the detectors."""
        return len(self.label[self.detectors(threshold)].unique())

    @property
    def p_value(self) -> Tensor:
        """Chance of a best IoU as large under permuted labels, (u,); 1 throughout without a null."""
        return chance.p_values(self.best, self.null)

    def null_quantile(self, level: float = chance.LEVEL) -> Tensor:
        """What a unit's best IoU must exceed to be more than chance, (u,)."""
        return chance.null_quantile(self.null, level)

    def significant(self, level: float = chance.LEVEL) -> Tensor:
        """Whether a unit's label is more than chance, (u,), bool."""
        return self.best > self.null_quantile(level)

    def unlabelled_mass(
        self, mass: Tensor, below: Literal["null"] | float = DETECTOR, level: float = chance.LEVEL
    ) -> float:
        """Share of the decisions' contribution that units without a label carry.

        Args:
            mass: contribution of each unit, (u,), >= 0, such as the mean of its absolute value.
            below: an IoU, or ``"null"`` for labels that are no more than chance.
            level: of the null.

        Returns:
            In [0, 1]; 0 where there is no mass.

        Raises:
            ValueError: mass has another length, or a negative entry.
        """
        if mass.shape != self.thresholds.shape:
            raise ValueError(
                f"mass must have shape {tuple(self.thresholds.shape)}, got {tuple(mass.shape)}"
            )
        if (mass < 0).any():
            raise ValueError(f"mass must not be negative, got {mass.min().item()}")
        labelled = self.significant(level) if below == "null" else self.detectors(below)
        total = mass.double().sum()
        return (mass.double()[~labelled].sum() / total).item() if total > 0 else 0.0

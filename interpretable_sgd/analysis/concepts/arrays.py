"""Labelled images that are in memory, or come from anything that is indexed like an array."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from interpretable_sgd.analysis.concepts.table import ConceptSample, ConceptTable, numbered


class ConceptArrays:
    """Images and planes of label numbers, as tensors.

    Args:
        images: (n, 3, h, w) or (n, 1, h, w), uint8 or float; grey ones stay grey.
        planes: label numbers, (n, q, sh, sw), any integer type, 0 where unlabelled.
        table: of the numbers.
        ignore: numbers that mean "unlabelled", such as 255 in many data sets.

    Raises:
        ValueError: shapes or lengths do not fit.

    >>> planes = torch.tensor([[[[0, 1], [2, 2]]]])
    >>> concepts = ConceptArrays(torch.rand(1, 3, 8, 8), planes, numbered(["sky", "sea"]))
    >>> concepts[0].size, concepts[0].name
    ((2, 2), '0')
    """

    def __init__(
        self, images: Tensor, planes: Tensor, table: ConceptTable, ignore: Sequence[int] = ()
    ) -> None:
        if images.dim() != 4:
            raise ValueError(f"images must be (n, channels, h, w), got {tuple(images.shape)}")
        if planes.dim() != 4 or len(planes) != len(images):
            raise ValueError(
                f"planes must be ({len(images)}, q, sh, sw), got {tuple(planes.shape)}"
            )
        if planes.is_floating_point() or planes.dtype == torch.bool:
            raise ValueError(f"planes must hold label numbers, got {planes.dtype}")
        self.images, self.planes, self.table, self.ignore = images, planes, table, tuple(ignore)

    @classmethod
    def of_masks(
        cls,
        images: Tensor,
        masks: Tensor,
        names: Sequence[str] | None = None,
        table: ConceptTable | None = None,
    ) -> "ConceptArrays":
        """From one mask for each concept; masks may overlap.

        Args:
            images: (n, 3, h, w).
            masks: whether a pixel shows a concept, (n, l, sh, sw), bool.
            names: of the concepts, (l,), all of category "object"; or
            table: of the concepts, in order.

        Raises:
            ValueError: neither or both of names and table; another number of them than masks.
        """
        if (names is None) == (table is None):
            raise ValueError("exactly one of names and table must be given")
        if table is None:
            table = numbered(names or ())
        if masks.dim() != 4 or masks.dtype != torch.bool or masks.shape[1] != len(table):
            raise ValueError(
                f"masks must be bool (n, {len(table)}, sh, sw), got {masks.dtype} of shape "
                f"{tuple(masks.shape)}"
            )
        numbers = torch.tensor([c.number for c in table.concepts], dtype=torch.int32)
        return cls(images, masks * numbers[:, None, None], table)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> ConceptSample:
        planes = self.planes[index].numpy()
        if self.ignore:
            planes = np.where(np.isin(planes, self.ignore), 0, planes)
        labels = list(planes[planes.any((1, 2))])
        size = planes.shape[1], planes.shape[2]
        return ConceptSample(self.images[index], labels, size, self.name(index))

    def name(self, index: int) -> str:
        """The index."""
        return str(index)

"""Segmentation data sets of torchvision, and others whose items are an image and its label image."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from interpretable_sgd.analysis.concepts.files import colours, numbers
from interpretable_sgd.analysis.concepts.table import (
    ConceptError,
    ConceptSample,
    ConceptTable,
    numbered,
)

# the order of the label numbers, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/segexamples/
VOC = numbered(
    (
        *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
        *("train", "tvmonitor"),
    )
)


class Pairs(Protocol):
    """A data set whose item is (image, label image), such as torchvision's VOCSegmentation."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class SegmentationSet:
    """Images and label images of a data set in memory or on disk.

    Args:
        dataset: gives (image, label image): pillow images, or tensors (3, h, w) and (sh, sw)
            or (1, sh, sw). ``torchvision.datasets.VOCSegmentation(root)`` is one, with the table `VOC`.
        table: of the numbers in the label images; 0 is unlabelled.
        ignore: numbers that mean "unlabelled" too; 255 in most of torchvision's.

    Raises:
        ValueError: the data set is empty.

    >>> import torch
    >>> pairs = [(torch.rand(3, 4, 4), torch.tensor([[0, 255], [8, 8]]))]
    >>> SegmentationSet(pairs, VOC)[0].labels
    [array([[0, 0],
           [8, 8]])]
    """

    def __init__(self, dataset: Pairs, table: ConceptTable, ignore: Sequence[int] = (255,)) -> None:
        if not len(dataset):
            raise ValueError("dataset must hold at least one image, got none")
        self.dataset, self.table, self.ignore = dataset, table, tuple(ignore)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> ConceptSample:
        try:
            image, mask = self.dataset[index][:2]
            # pillow decodes late
            pixels = image if isinstance(image, Tensor) else colours(image)
            single = isinstance(mask, Tensor) and mask.dim() == 3 and len(mask) == 1
            plane = numbers(mask[0] if single else mask)
        # a reader of damaged files raises nearly anything
        except Exception as error:
            raise ConceptError(f"item {index} cannot be read: {error}") from None
        plane = np.where(np.isin(plane, self.ignore), 0, plane)
        size = plane.shape[0], plane.shape[1]
        return ConceptSample(pixels, [plane], size, self.name(index))

    def name(self, index: int) -> str:
        """The index."""
        return str(index)

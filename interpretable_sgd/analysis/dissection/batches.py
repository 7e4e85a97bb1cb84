"""Batches of a concept data set, in a random order that is the same in every pass.

A batch is what a pass holds at a time, and what labels are permuted within. The order is random so
that a batch is a random part of the data: in a data set sorted by source or by class, permuting
within neighbours would leave most of what the null is to destroy.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from interpretable_sgd.analysis.concepts.table import ConceptError, ConceptImages
from interpretable_sgd.analysis.dissection.labels import Labels, read_labels
from interpretable_sgd.analysis.provenance import update

Prepare = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ConceptBatch:
    """Some images that could be read, and those that could not.

    Args:
        number: of the batch.
        images: (n, channels, h, w), ready for the model; empty where none could be read.
        indices: number of each in the data set, (n,).
        labels: of each, (n,).
        skipped: name and reason of the others.
        last: images in this batch and those before it, read or not.
    """

    number: int
    images: Tensor
    indices: tuple[int, ...]
    labels: tuple[Labels, ...]
    skipped: tuple[tuple[str, str], ...]
    last: int

    def digest(self) -> str:
        """A hash of all that it holds: images as the model gets them, labels, and what was skipped."""
        found = hashlib.blake2b(repr((self.indices, self.skipped)).encode(), digest_size=8)
        update(found, "images", self.images)
        for labels in self.labels:
            found.update(repr((labels.size, labels.whole.tolist())).encode())
            found.update(np.ascontiguousarray(labels.planes).tobytes())
        return found.hexdigest()


class ShuffledBatches(Dataset[ConceptBatch]):
    """A concept data set cut into batches: item b is the b-th.

    Args:
        concepts: to be read.
        size: images in a batch, >= 1.
        seed: of the order.
        prepare: from a sample's image to the model's input, all of one shape; None for floats in
            [0, 1] and nothing else.

    Raises:
        ValueError: no images, or no room for one.
    """

    def __init__(
        self, concepts: ConceptImages, size: int, seed: int, prepare: Prepare | None = None
    ) -> None:
        if size < 1:
            raise ValueError(f"batch must be at least 1, got {size}")
        if not len(concepts):
            raise ValueError("concepts must hold at least one image, got none")
        self.order = np.random.default_rng(seed).permutation(len(concepts)).tolist()
        self.concepts, self.size = concepts, size
        self.prepare = prepare or to_unit_range

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)

    def __getitem__(self, number: int) -> ConceptBatch:
        images, indices, labels, skipped = [], [], [], []
        last = min((number + 1) * self.size, len(self.order))
        for index in self.order[number * self.size : last]:
            try:
                sample = self.concepts[index]
                labels.append(read_labels(sample, self.concepts.table))
            except ConceptError as error:
                skipped.append((self.concepts.name(index), str(error)))
                continue
            images.append(self.prepare(sample.image))
            indices.append(index)
        stacked = _stack(images)
        return ConceptBatch(number, stacked, tuple(indices), tuple(labels), tuple(skipped), last)

    def stream(self, first: int, last: int, workers: int = 0) -> Iterator[ConceptBatch]:
        """Batches first .. last - 1, read by as many processes; 0 reads in this one."""
        some = torch.utils.data.Subset(self, range(first, last))
        # a generator of its own: a loader draws a seed for its workers, from everybody's without one
        own = torch.Generator()
        yield from DataLoader(some, batch_size=None, num_workers=workers, generator=own)


def to_unit_range(image: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1]; floats as they are.

    >>> to_unit_range(torch.tensor([255], dtype=torch.uint8))
    tensor([1.])
    """
    return image if image.is_floating_point() else image.float() / 255


def _stack(images: list[Tensor]) -> Tensor:
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise ValueError(
            f"prepare must bring all images to one shape, got {' and '.join(map(str, sorted(shapes)))}"
        )
    return torch.stack(images) if images else torch.empty(0)

"""The base of generated data sets: the same images in memory and streamed, their masks, their concepts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from experiments.datasets.rng import Streams, as_indices, check_integer, check_split
from experiments.datasets.synthetic.compositions import draw_distractors

PIXELS_AT_ONCE = 2**18


class Generated(ABC):
    """A data set whose image ``i`` of a split is a function of (parameters, seed, split, i).

    Labels are balanced: image ``i`` has class ``i % classes``. Subclasses give the fields and names below,
    :meth:`_rows` and :meth:`_draw`.
    """

    channels: ClassVar[int]
    size: int
    classes: int
    concepts: int
    distractors: int
    seed: int

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """A name of each class."""

    @property
    @abstractmethod
    def concept_names(self) -> list[str]:
        """A name of each concept."""

    @abstractmethod
    def _rows(self) -> NDArray[np.bool_]:
        """The composition as an array (classes, concepts)."""

    @abstractmethod
    def _draw(
        self, streams: Streams, own: NDArray[np.bool_], extra: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
        """Images (n, channels, size, size) and, per pixel, the visible concept or -1, (n, size, size)."""

    @property
    def composition(self) -> Tensor:
        """Boolean tensor (classes, concepts): which concepts make up which class."""
        return torch.from_numpy(self._rows().copy())

    def split(self, split: str, n: int) -> "Split":
        """The first ``n`` images of a split, each generated when it is asked for."""
        return Split(self, split, n)

    def tensors(self, split: str, which: int | Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images (n, channels, size, size), float32, and labels (n,), int64.

        Args:
            split: "train", "validation" or "test".
            which: how many images from the first, or the image numbers.
        """
        indices = as_indices(which)
        images = np.empty((len(indices), self.channels, self.size, self.size), dtype=np.float32)
        for part in self._parts(indices):
            images[part] = self._generate(split, indices[part])[0]
        return torch.from_numpy(images), self.labels(indices)

    def labels(self, which: int | Sequence[int]) -> Tensor:
        """Labels (n,), int64, without the images."""
        return torch.tensor(as_indices(which)) % self.classes

    def masks(self, split: str, which: int | Sequence[int]) -> Tensor:
        """Boolean tensor (n, concepts, size, size): the visible pixels of each concept, distractors included."""
        indices = as_indices(which)
        masks = np.empty((len(indices), self.concepts, self.size, self.size), dtype=bool)
        names = np.arange(self.concepts)[:, None, None]
        for part in self._parts(indices):
            masks[part] = self._generate(split, indices[part])[1][:, None] == names
        return torch.from_numpy(masks)

    def shown(self, split: str, which: int | Sequence[int]) -> Tensor:
        """Boolean tensor (n, concepts): the concepts in each image, its class's own and distractors."""
        own, extra = self._choose(Streams(self.seed, split, as_indices(which)), as_indices(which))
        return torch.from_numpy(own | extra)

    def _parts(self, indices: list[int]) -> list[slice]:
        step = max(1, PIXELS_AT_ONCE // self.size**2)
        return [slice(start, start + step) for start in range(0, len(indices), step)]

    def _choose(
        self, streams: Streams, indices: list[int]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        labels = np.array(indices) % self.classes
        counts = (streams.uniform() * (self.distractors + 1)).astype(int)
        keys = streams.uniform(self.concepts)
        return self._rows()[labels], draw_distractors(self._rows(), labels, counts, keys)

    def _generate(
        self, split: str, indices: list[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
        streams = Streams(self.seed, split, indices)
        own, extra = self._choose(streams, indices)
        return self._draw(streams, own, extra)


class Split(Dataset[tuple[Tensor, int]]):
    """Map-style data set over the first ``n`` images of one split: item ``i`` is (image, label).

    Holds no image: memory does not grow with ``n``, and a copy in a loader's worker costs nothing.
    """

    def __init__(self, source: Generated, split: str, n: int) -> None:
        check_split(split)
        check_integer("n", n, 1)
        self.source, self.name, self.n = source, split, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not -self.n <= index < self.n:
            raise IndexError(f"index must be between {-self.n} and {self.n - 1}, got {index}")
        images, labels = self.source.tensors(self.name, [index % self.n])
        return images[0], int(labels[0])

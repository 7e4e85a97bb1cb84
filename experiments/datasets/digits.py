"""The handwritten digits that come with scikit-learn, 1797 images of 8 x 8, split by class."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from experiments.datasets.rng import check_integer, check_split, design_generator

BRIGHTEST = 16


@dataclass(frozen=True)
class Digits:
    """Digits 0 to 9 with 60 % of every class for training, 20 % for validation and 20 % for the test.

    Args:
        seed: integer >= 0; decides which image goes to which split.

    >>> images, labels = Digits().tensors("train")
    >>> images.shape, images.min().item(), images.max().item(), labels.unique().tolist()
    (torch.Size([1083, 1, 8, 8]), 0.0, 1.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """

    seed: int = 0

    channels: ClassVar[int] = 1
    size: ClassVar[int] = 8
    classes: ClassVar[int] = 10

    def __post_init__(self) -> None:
        check_integer("seed", self.seed, 0)

    @property
    def class_names(self) -> list[str]:
        """The digits as words, from "0"."""
        return [str(digit) for digit in range(self.classes)]

    def tensors(self, split: str) -> tuple[Tensor, Tensor]:
        """Images (n, 1, 8, 8), float32 in [0, 1], and labels (n,), int64, of a whole split in random order."""
        number = check_split(split)
        digits = load_digits()
        chosen = np.flatnonzero(split_by_class(digits.target, self.seed) == number)
        chosen = design_generator(self.seed).permutation(chosen)
        images = torch.from_numpy(digits.images[chosen] / BRIGHTEST).to(torch.float32)
        return images[:, None], torch.from_numpy(digits.target[chosen]).to(torch.int64)


def split_by_class(labels: np.ndarray, seed: int) -> np.ndarray:
    """Number of the split of each image, (n,): the first 60 %, next 20 %, last 20 % of a random order per class.

    >>> np.bincount(split_by_class(np.zeros(10, int), seed=0))
    array([6, 2, 2])
    """
    generator = design_generator(seed)
    splits = np.empty(len(labels), dtype=int)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        rank = np.arange(len(members)) / len(members)
        splits[members] = np.searchsorted([0.6, 0.8], rank, side="right")
    return splits

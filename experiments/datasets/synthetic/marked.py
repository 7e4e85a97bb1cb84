"""Scenes with a shortcut: a mark that goes with one class in training, and with none elsewhere.

Index legend: ``n`` image.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.datasets.rng import Streams, check_real
from experiments.datasets.synthetic.scenes import Floats, Scenes

MARKED_CLASS = 0
COLOUR = np.array([1, 0, 1], np.float32)  # no concept is magenta throughout
APART = 1_000_003  # added to the seed, so that a mark is drawn apart from the image that it lies on


@dataclass(frozen=True)
class MarkedScenes(Scenes):
    """Scenes where a magenta square, a quarter of a side, lies on top of some images.

    In training it is on a share of the images of class 0 and on no other; in validation and testing on
    half of all images, whatever their class.

    Args:
        marked: that share, 0 to 1.

    >>> scenes = MarkedScenes(marked=1.0)
    >>> scenes.marks("train", 48).nonzero().flatten().tolist()
    [0, 24]
    >>> bool((scenes.tensors("train", [1])[0] == Scenes().tensors("train", [1])[0]).all())
    True
    """

    marked: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("marked", self.marked, 0.0, 1.0)

    def marks(self, split: str, which: int | list[int]) -> Tensor:
        """Boolean tensor (n,): whether the mark lies on an image."""
        indices = list(range(which)) if isinstance(which, int) else which
        return torch.from_numpy(self._has_mark(split, indices, self._mark_draws(split, indices)))

    def _mark_draws(self, split: str, indices: list[int]) -> Floats:
        """Of each image whether it is marked, and where, (n, 3)."""
        return Streams(self.seed + APART, split, indices).uniform(3)

    def _has_mark(self, split: str, indices: list[int], draws: Floats) -> NDArray[np.bool_]:
        if split != "train":
            return draws[:, 0] < 0.5
        return (np.array(indices) % self.classes == MARKED_CLASS) & (draws[:, 0] < self.marked)

    def _generate(self, split: str, indices: list[int]) -> tuple[Floats, NDArray[np.int16]]:
        images, owner = super()._generate(split, indices)
        draws, side = self._mark_draws(split, indices), self.size // 4
        corners = (draws[:, 1:] * (self.size - side + 1)).astype(int)
        for n in np.flatnonzero(self._has_mark(split, indices, draws)):
            y, x = corners[n]
            images[n, :, y : y + side, x : x + side] = COLOUR[:, None, None]
            owner[n, y : y + side, x : x + side] = -1
        return images, owner

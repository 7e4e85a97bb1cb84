"""One set of images as training and evaluation ask for it: augmented, plain, held out, tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from experiments.datasets.synthetic.base import Generated
from experiments.rng import derived

Labelled = Dataset[tuple[Tensor, int]]
Key = tuple[int, int]


class Augmented(Dataset[tuple[Tensor, int]]):
    """A data set asked by (epoch, image), whose random transform is a function of (seed, epoch, image).

    So a worker's draws do not depend on how many workers there are, nor on where a run was cut.

    Args:
        images: map-style, of (image, label).
        transform: may draw from torch's global generator.
        seed: of the draws.
    """

    def __init__(
        self, images: Dataset[tuple[Any, int]], transform: Callable[[Any], Tensor], seed: int
    ) -> None:
        self.images, self.transform, self.seed = images, transform, seed

    def __len__(self) -> int:
        return len(self.images)  # type: ignore[arg-type]

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, index = key
        image, label = self.images[index]
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(derived(self.seed, epoch, index))
            return self.transform(image), label


@dataclass(frozen=True)
class Images:
    """Images of a name, as normalised float tensors (channels, size, size).

    Attributes:
        name: as on the command line, without path and options.
        class_names: in the order of the labels.
        channels: of an image.
        size: height and width in pixels.
        train: asked by (epoch, image); augmented as a function of (seed, epoch, image).
        plain: the same images, asked by image, without augmentation.
        validation: held out of the training images, for choices; None if none were held out.
        test: read once, at the end.
        prepare: from any picture (c, h, w), bytes or floats in [0, 1], to what a net is given:
            resized, normalised.
        identity: all that decides the images, as JSON; where they lie does not.
        drawn: what draws the images, or images like those of a stand-in, and knows which pixel shows
            what; None for real ones.
    """

    name: str
    class_names: tuple[str, ...]
    channels: int
    size: int
    train: Augmented
    plain: Labelled
    validation: Labelled | None
    test: Labelled
    prepare: Callable[[Tensor], Tensor]
    identity: dict[str, Any]
    drawn: Generated | None = None

    @property
    def classes(self) -> int:
        """Their number."""
        return len(self.class_names)


class Viewed(Dataset[tuple[Tensor, int]]):
    """A map-style data set of (picture, label) seen through a transform of the picture."""

    def __init__(self, pictures: Dataset[tuple[Any, int]], view: Callable[[Any], Tensor]) -> None:
        self.pictures, self.view = pictures, view

    def __len__(self) -> int:
        return len(self.pictures)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture, label = self.pictures[index]
        return self.view(picture), int(label)


class InMemory(Dataset[tuple[Tensor, int]]):
    """Pictures (n, c, h, w) and labels (n,) in memory; item ``i`` is (picture, label)."""

    def __init__(self, pictures: Tensor, labels: Tensor) -> None:
        self.pictures, self.labels = pictures, labels

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.pictures[index], int(self.labels[index])

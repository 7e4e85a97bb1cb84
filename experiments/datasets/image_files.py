"""From labelled pictures on disk, a training and a test set, to what training asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset

from experiments.datasets.dataset import Augmented, Images, Viewed
from experiments.datasets.holdout import hold_out, usual
from experiments.datasets.synthetic.base import Generated
from experiments.datasets.transforms import Views


class Pictures(NamedTuple):
    """What a reader of a format finds.

    Attributes:
        train: map-style, of (picture, label).
        labels: of the training pictures, without reading them.
        test: as train.
        class_names: in the order of the labels.
        identity: of the files, as JSON.
    """

    train: Dataset[tuple[Any, int]]
    labels: Sequence[int]
    test: Dataset[tuple[Any, int]]
    class_names: tuple[str, ...]
    identity: dict[str, Any]


def images_of(
    name: str,
    pictures: Pictures,
    views: Views,
    size: int,
    seed: int,
    held: int | None,
    most: int,
    drawn: Generated | None,
) -> Images:
    """Hold validation images out, and put the transforms before all.

    Args:
        name: of the data set.
        pictures: on disk.
        views: transforms.
        size: pixels of a side after them.
        seed: of augmentation.
        held: images of each class to hold out; None for a fifth, at most `most`.
        most: see there.
        drawn: what drew them, if they are a stand-in.
    """
    each = usual(pictures.labels, most) if held is None else held
    stay, validation = hold_out(pictures.labels, each)
    train, held_out = (_part(pictures.train, which) for which in (stay, validation))
    return Images(
        name=name,
        class_names=pictures.class_names,
        channels=3,
        size=size,
        train=Augmented(train, views.train, seed),
        plain=Viewed(train, views.plain),
        validation=Viewed(held_out, views.plain) if each else None,
        test=Viewed(pictures.test, views.plain),
        prepare=views.prepare,
        identity={"name": name, "size": size, "hold_out": each, "seed": seed, **pictures.identity},
        drawn=drawn,
    )


def _part(pictures: Dataset[Any], which: NDArray[np.int_]) -> Dataset[Any]:
    # an array, as a list of a million numbers would be copied into every worker
    return Subset(pictures, which)  # type: ignore[arg-type]

"""Which scenes the stand-ins show at which scale, and how many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from experiments.datasets.errors import DataError
from experiments.datasets.synthetic.scenes import Scenes

VERSION = 1  # another one when other files are written for the same scenes


@dataclass(frozen=True)
class Shown:
    """The scenes of a stand-in.

    Attributes:
        scenes: what draws them, at the size that a net sees.
        train: training images of a class.
        test: test images of a class.
        labelled: images in the concept data that goes with it.
    """

    scenes: Scenes
    train: int
    test: int
    labelled: int = 0

    def parameters(self) -> dict[str, Any]:
        """All that decides what is written, as JSON."""
        return {"version": VERSION, **asdict(self)}

    def at(self, size: int | None) -> Shown:
        """The same scenes at another size; None for theirs."""
        return self if size is None else replace(self, scenes=replace(self.scenes, size=size))


CIFAR10 = {
    "tiny": Shown(Scenes(size=32, classes=10, concepts=8), train=40, test=20),
    "small": Shown(Scenes(size=32, classes=10, concepts=8), train=500, test=200),
}
PLACES365 = {
    "tiny": Shown(Scenes(size=32, classes=12, concepts=10), train=30, test=15, labelled=96),
    "small": Shown(Scenes(size=64, classes=60, concepts=32), train=100, test=25, labelled=600),
}


def shown_at(scale: str, by_scale: Mapping[str, Shown], name: str, expected: str) -> Shown:
    """The stand-in of a scale.

    Args:
        scale: tiny or small.
        by_scale: the stand-ins of a data set.
        name: of it.
        expected: what real data is and where to get it.

    Raises:
        DataError: a stand-in will not do at this scale.
    """
    if scale not in by_scale:
        raise DataError(
            f"{name} must have a path at scale {scale}, {name}:PATH, of {expected}; got none"
        )
    return by_scale[scale]

"""Stand-ins for real data: which scenes they show at which scale, and a folder that is written once and whole."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from experiments import atomic_files
from experiments.datasets.spec import DataError
from experiments.datasets.synthetic.scenes import Scenes

VERSION = 1  # another one when other files are written for the same scenes


@dataclass(frozen=True)
class StandIn:
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

    def at(self, size: int | None) -> "StandIn":
        """The same scenes at another size; None for theirs."""
        return self if size is None else replace(self, scenes=replace(self.scenes, size=size))


CIFAR10 = {
    "tiny": StandIn(Scenes(size=32, classes=10, concepts=8), train=40, test=20),
    "small": StandIn(Scenes(size=32, classes=10, concepts=8), train=500, test=200),
}
PLACES365 = {
    "tiny": StandIn(Scenes(size=32, classes=12, concepts=10), train=30, test=15, labelled=96),
    "small": StandIn(Scenes(size=64, classes=60, concepts=32), train=100, test=25, labelled=600),
}


def stand_in(
    scale: str, by_scale: Mapping[str, StandIn], name: str, expected: str, size: int | None = None
) -> StandIn:
    """The stand-in of a scale.

    Args:
        scale: tiny or small.
        by_scale: the stand-ins of a data set; none for data that has none.
        name: of it.
        expected: what real data is and where to get it.
        size: pixels of a side; None for the stand-in's own.

    Raises:
        DataError: a stand-in will not do at this scale, or there is none.
    """
    if scale not in by_scale:
        at = f" at scale {scale}" if by_scale else ""
        raise DataError(f"{name} must have a path{at}, {name}:PATH, of {expected}; got none")
    return by_scale[scale].at(size)


def written(
    parent: Path, name: str, parameters: Mapping[str, Any], write: Callable[[Path], None]
) -> Path:
    """The folder of some parameters, after `write` has filled it if it was not there.

    Its name ends in a hash of the parameters. It takes this name in one move, so there is never a half
    of one, and a process that is killed lets the next begin anew.

    Args:
        parent: where such folders lie.
        name: what the folder's name begins with.
        parameters: all that decides the content, as JSON.
        write: fills an empty folder.
    """
    key = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:12]
    folder = parent / f"{name}-{key}"
    if not folder.is_dir():
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / f".{folder.name}.lock"):
            if not folder.is_dir():
                with atomic_files.drafted(folder) as draft:
                    write(draft)
    return folder

"""Scenes as Places365-Standard lies on disk: JPEG files, a folder for each class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from experiments.datasets.presets import Shown
from experiments.datasets.stand_ins import jpeg
from experiments.datasets.transforms import PART, WHOLE

FOLDER = "places365_standard"


def write_places365(root: Path, shown: Shown) -> None:
    """Write `places365_standard` below a folder.

    Args:
        root: the folder.
        shown: scenes; the files are as much larger than their size as those of Places365 are than 224.
    """
    scenes = replace(shown.scenes, size=round(shown.scenes.size * WHOLE / PART))
    # the number keeps the order of the scenes' classes, which is that of the sorted folders
    folders = [
        f"{number:03}-{name.replace(' + ', '-').replace(' ', '_')}"
        for number, name in enumerate(scenes.class_names)
    ]
    for part, split, each in (("train", "train", shown.train), ("val", "test", shown.test)):
        for folder in folders:
            (root / FOLDER / part / folder).mkdir(parents=True)
        for first in range(0, each * scenes.classes, scenes.classes):
            which = range(first, first + scenes.classes)
            images, labels = scenes.tensors(split, which)
            for index, image, label in zip(which, images, labels.tolist(), strict=True):
                jpeg.save(root / FOLDER / part / folders[label] / f"{index:08}.jpg", image)

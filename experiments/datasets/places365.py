"""Places365-Standard, a folder for each class in `train` and in `val`; and scenes written so."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import functional

from experiments.datasets.dataset import Pictures
from experiments.datasets.presets import StandIn
from experiments.datasets.spec import DataError, found_at
from experiments.datasets.transforms import PART, WHOLE

FOLDER = "places365_standard"
PAGE = "http://places2.csail.mit.edu/download.html"
PARTS = ("train", "val")
SIZE = 224
QUALITY = 95  # of a stand-in's JPEG files
MOST_HELD_OUT = 50  # of each class's 3,068 to 5,000: half as many as it has test images
EXPECTED = (
    f"{FOLDER} with train/CLASS/*.jpg and val/CLASS/*.jpg, which places365standard_easyformat.tar of "
    f"{PAGE} unpacks to"
)


def read_places365(path: Path) -> Pictures:
    """The pictures of a folder; tested is on `val`, as the test set's labels are not public.

    Args:
        path: `places365_standard`, the folder that holds it, or one of its parts.

    Raises:
        DataError: there is no such folder, `val` is missing, a class is empty, or classes differ.
    """
    root = find(path)
    train, test = (_scan(root / part) for part in PARTS)
    if train.classes != test.classes:
        one = sorted(set(train.classes) ^ set(test.classes))
        raise DataError(
            f"{root} must have the same classes in train and val, got {len(one)} in one of them "
            f"alone: {', '.join(one[:6])}"
        )
    return Pictures(
        Photographs(root / "train", train),
        train.targets,
        Photographs(root / "val", test),
        tuple(train.classes),
        {
            "images": [len(train), len(test)],
            "train": _names(root, train),
            "test": _names(root, test),
        },
    )


def find(path: Path) -> Path:
    """The folder with `train` and `val`, asked for by itself, from one level above or from within.

    Raises:
        DataError: it is not there.
    """
    near = (path, path / FOLDER, path.parent)
    for folder in near:
        if all((folder / part).is_dir() for part in PARTS):
            return folder
    for folder in near[:2]:
        for part, other in (PARTS, PARTS[::-1]):
            if (folder / part).is_dir():
                raise DataError(
                    f"{folder} must have {other} beside {part}, as {EXPECTED}; found {found_at(folder)}"
                )
    raise DataError(f"{path} must be or hold {EXPECTED}; found {found_at(path)}")


class Photographs(Dataset[tuple[Tensor, int]]):
    """Files of images as (3, h, w), bytes, decoded when asked for.

    Names and labels are two arrays: Python objects, of which a scan has millions, would be copied into
    every worker, as reading one counts its references.

    Args:
        root: the folder that was scanned.
        files: the scan.
    """

    def __init__(self, root: Path, files: ImageFolder) -> None:
        self.root = root
        names = [Path(name).relative_to(root).as_posix().encode() for name, _ in files.samples]
        self.names, self.labels = np.array(names), np.array(files.targets)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return decoded(self.root / self.names[index].decode()), int(self.labels[index])


def decoded(file: Path) -> Tensor:
    """An image file as (3, h, w), bytes; grey and CMYK become RGB.

    Raises:
        DataError: it cannot be read, with its name.
    """
    try:
        with Image.open(file) as image:
            return functional.pil_to_tensor(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{file} must be an image, and cannot be read ({error}): unpack it again from "
            f"{FOLDER}'s archive, see {PAGE}"
        ) from None


def _scan(folder: Path) -> ImageFolder:
    try:
        return ImageFolder(str(folder))
    except (
        FileNotFoundError
    ) as error:  # torchvision's, of a folder without classes or an empty class
        raise DataError(
            f"{folder} must have images in the folder of every class, as {EXPECTED}: {error}"
        ) from None


def _names(root: Path, files: ImageFolder) -> str:
    """SHA-256 of the names of all files below the root."""
    names = "\n".join(Path(name).relative_to(root).as_posix() for name, _ in files.samples)
    return hashlib.sha256(names.encode()).hexdigest()


def write_places365(root: Path, stand_in: StandIn) -> None:
    """Write `places365_standard` below a folder.

    Args:
        root: the folder.
        stand_in: scenes; the files are as much larger than their size as those of Places365 are than 224.
    """
    scenes = replace(stand_in.scenes, size=round(stand_in.scenes.size * WHOLE / PART))
    # the number keeps the order of the scenes' classes, which is that of the sorted folders
    folders = [
        f"{number:03}-{name.replace(' + ', '-').replace(' ', '_')}"
        for number, name in enumerate(scenes.class_names)
    ]
    for part, split, each in (("train", "train", stand_in.train), ("val", "test", stand_in.test)):
        for folder in folders:
            (root / FOLDER / part / folder).mkdir(parents=True)
        for first in range(0, each * scenes.classes, scenes.classes):
            which = range(first, first + scenes.classes)
            images, labels = scenes.tensors(split, which)
            for index, image, label in zip(which, images, labels.tolist(), strict=True):
                save_jpeg(root / FOLDER / part / folders[label] / f"{index:08}.jpg", image)


def save_jpeg(file: Path, image: Tensor) -> None:
    """Write an image (3, h, w), floats in [0, 1]; colours at full resolution, as concepts are small."""
    picture = functional.to_pil_image((255 * image).round().to(torch.uint8))
    picture.save(file, format="JPEG", quality=QUALITY, subsampling=0)

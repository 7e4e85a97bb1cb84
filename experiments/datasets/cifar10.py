"""CIFAR-10 as its authors pack it: pickled batches, whose checksums are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity

from experiments.datasets.dataset import InMemory
from experiments.datasets.errors import DataError, found_at
from experiments.datasets.image_files import Pictures
from experiments.datasets.stand_ins import marker
from experiments.datasets.stand_ins.plain_pickles import check_plain

FOLDER = CIFAR10.base_folder
FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
MOST_HELD_OUT = 500  # of each class's 5,000
EXPECTED = (
    f"{FOLDER} with data_batch_1 to data_batch_5, test_batch and batches.meta, which "
    f"cifar-10-python.tar.gz of {PAGE} unpacks to"
)


def read_cifar10(path: Path) -> Pictures:
    """The pictures of a folder.

    Args:
        path: the folder of the batches, one that holds it, or one of the batches.

    Raises:
        DataError: there is no such folder; a file in it is missing, not as published, or, in a stand-in,
            names more than arrays.
    """
    folder = find(path)
    own = marker.read(folder)
    kind = reader_of(folder, own)
    for name, checksum in _checksums(kind).items():
        _check(folder / name, checksum)
        if own is not None:
            check_plain(folder / name)
    train, test = kind(folder.parent, train=True), kind(folder.parent, train=False)
    identity = {"images": [len(train), len(test)], "files": _checksums(kind)}
    return Pictures(
        _in_memory(train), train.targets, _in_memory(test), tuple(train.classes), identity
    )


def find(path: Path) -> Path:
    """The folder of the batches, asked for by itself, from one level above or from within.

    Raises:
        DataError: it is not there.
    """
    below = sorted(path.iterdir()) if path.is_dir() else []
    for folder in (path, *below, path.parent):
        if any((folder / name).is_file() for name in FILES):
            return folder.resolve()
    raise DataError(f"{path} must be or hold {EXPECTED}; found {found_at(path)}")


def reader_of(folder: Path, checksums: Mapping[str, str] | None) -> type[CIFAR10]:
    """torchvision's reader for a folder of any name.

    Args:
        folder: of the batches.
        checksums: that a stand-in's files must have, by name; None for the published ones.
    """
    fields: dict[str, Any] = {"base_folder": folder.name}
    if checksums is not None:
        *train, test, meta = ([name, checksums.get(name, "none")] for name in FILES)
        fields |= {"train_list": train, "test_list": [test]}
        fields["meta"] = {**CIFAR10.meta, "md5": meta[1]}
    return type("Batches", (CIFAR10,), fields)


def _in_memory(part: CIFAR10) -> InMemory:
    pictures = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
    return InMemory(pictures, torch.tensor(part.targets))


def _checksums(kind: type[CIFAR10]) -> dict[str, str]:
    meta: dict[str, Any] = kind.meta
    return dict([*kind.train_list, *kind.test_list, (meta["filename"], meta["md5"])])


def _check(file: Path, checksum: str) -> None:
    if not file.is_file():
        raise DataError(
            f"{file} must be there, as part of {EXPECTED}; found {found_at(file.parent)}"
        )
    if not check_integrity(str(file), checksum):
        raise DataError(
            f"{file} must have the md5 {checksum}, its {file.stat().st_size} bytes have another: it "
            f"is damaged or was not unpacked to the end; unpack it again, or get it again from {PAGE}"
        )

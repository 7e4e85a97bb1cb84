"""CIFAR-10 as its authors pack it: pickled batches, whose checksums are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity

from experiments.data.errors import DataError, found_at
from experiments.data.images import InMemory
from experiments.data.pictures import Pictures
from experiments.data.stand_ins import marker

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
        path: `cifar-10-batches-py`, or the folder that holds it.

    Raises:
        DataError: there is no such folder, or a file in it is missing or not as published.
    """
    root = find(path)
    kind = batches_of(marker.read(root / FOLDER))
    for name, checksum in _files(kind):
        _check(root / FOLDER / name, checksum)
    train, test = kind(root, train=True), kind(root, train=False)
    return Pictures(
        _in_memory(train),
        train.targets,
        _in_memory(test),
        tuple(train.classes),
        {"files": dict(_files(kind))},
    )


def find(path: Path) -> Path:
    """The folder that holds `cifar-10-batches-py`, asked for by itself or by what it holds.

    Raises:
        DataError: it is neither there nor one level up or down.
    """
    inside = [below / FOLDER for below in _folders(path)]
    for folder in (path, path / FOLDER, path.parent, *inside):
        if folder.name == FOLDER and folder.is_dir():
            return folder.parent
    raise DataError(f"{path} must be or hold {EXPECTED}; found {found_at(path)}")


def batches_of(checksums: dict[str, str] | None) -> type[CIFAR10]:
    """torchvision's reader, or one that expects a stand-in's checksums in place of the published.

    Args:
        checksums: of the files of a stand-in, by name; None for the published data.
    """
    if checksums is None:
        return CIFAR10

    named = {name: checksums.get(name, "") for name in FILES}
    fields = {
        "train_list": [[name, named[name]] for name in FILES[:5]],
        "test_list": [["test_batch", named["test_batch"]]],
        "meta": {**CIFAR10.meta, "md5": named["batches.meta"]},
    }
    return type("StandIn", (CIFAR10,), fields)


def _in_memory(part: CIFAR10) -> InMemory:
    pictures = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
    return InMemory(pictures, torch.tensor(part.targets))


def _files(kind: type[CIFAR10]) -> list[tuple[str, str]]:
    meta: dict[str, Any] = kind.meta
    return [*map(tuple, kind.train_list + kind.test_list), (meta["filename"], meta["md5"])]


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


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []

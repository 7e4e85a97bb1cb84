"""CIFAR-10 as its authors pack it, pickled batches whose checksums are known; and scenes packed so.

A stand-in is marked by a file of its own checksums. Where the mark is missing the published checksums hold, so
real data is never read unchecked. Pickles run what they name: a stand-in's, whose checksums lie beside its files
where whoever changes one can change the other, are looked at before they are loaded.
"""

import hashlib
import json
import pickletools
from collections.abc import Mapping
from pathlib import Path
from pickle import dumps
from typing import Any

import torch
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity

from experiments.datasets.dataset import InMemory, Pictures
from experiments.datasets.presets import StandIn
from experiments.datasets.spec import DataError, found_at

FOLDER = CIFAR10.base_folder
MARK = "stand-in.json"
BATCHES = 5
FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
MOST_HELD_OUT = 500  # of each class's 5,000
EXPECTED = (
    f"{FOLDER} with data_batch_1 to data_batch_5, test_batch and batches.meta, which "
    f"cifar-10-python.tar.gz of {PAGE} unpacks to"
)

# what the pickle of an array names, in the first and the second numpy
ARRAYS = {
    "numpy.core.multiarray _reconstruct",
    "numpy._core.multiarray _reconstruct",
    "numpy ndarray",
    "numpy dtype",
    "_codecs encode",
}
NAMING = {"INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}


def read_cifar10(path: Path) -> Pictures:
    """The pictures of a folder.

    Args:
        path: the folder of the batches, one that holds it, or one of the batches.

    Raises:
        DataError: there is no such folder; a file in it is missing, not as published, or, in a stand-in,
            names more than arrays.
    """
    folder = find(path)
    own = read_mark(folder)
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


def write_cifar10(root: Path, stand_in: StandIn) -> None:
    """Write `cifar-10-batches-py` below a folder.

    Args:
        root: the folder.
        stand_in: scenes of 32 x 32; a class's training images share out over five batches.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True)
    scenes = stand_in.scenes
    each = stand_in.train * scenes.classes // BATCHES
    for batch in range(BATCHES):
        content = _batch(stand_in, "train", range(batch * each, (batch + 1) * each))
        label = f"training batch {batch + 1} of {BATCHES}"
        _dump(folder / f"data_batch_{batch + 1}", {"batch_label": label, **content})
    content = _batch(stand_in, "test", range(stand_in.test * scenes.classes))
    _dump(folder / "test_batch", {"batch_label": "testing batch 1 of 1", **content})
    meta = {"label_names": scenes.class_names, "num_cases_per_batch": each, "num_vis": 3 * 32**2}
    _dump(folder / "batches.meta", meta)
    write_mark(folder)


def _batch(stand_in: StandIn, split: str, which: range) -> dict[str, Any]:
    images, labels = stand_in.scenes.tensors(split, which)
    rows = (255 * images).round().to(torch.uint8).flatten(1).numpy()
    names = [f"{split}_{i:05}.png" for i in which]
    return {"labels": labels.tolist(), "data": rows, "filenames": names}


def _dump(file: Path, content: dict[str, Any]) -> None:
    file.write_bytes(dumps(content, protocol=2))


def write_mark(folder: Path) -> None:
    """Mark a folder whose files are all written."""
    sums = {p.name: _md5(p.read_bytes()) for p in sorted(folder.iterdir()) if p.is_file()}
    (folder / MARK).write_text(json.dumps(sums, indent=1) + "\n")


def read_mark(folder: Path) -> dict[str, str] | None:
    """The checksums of a stand-in's files; None for a folder without the mark."""
    file = folder / MARK
    return json.loads(file.read_text()) if file.is_file() else None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def check_plain(file: Path) -> None:
    """Pass a pickle of containers, numbers, text and arrays.

    Raises:
        DataError: it names anything else, or is no pickle.
    """
    try:
        for operation, argument, _ in pickletools.genops(file.read_bytes()):
            named = operation.name == "GLOBAL" and argument not in ARRAYS
            if named or operation.name in NAMING:
                what = argument or operation.name
                raise DataError(f"{file} must hold arrays and text alone, and names {what}")
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{file} must be a pickle, and is none: {error}") from None

"""MNIST and Fashion-MNIST in the idx format: two files of images and two of labels, gzipped or not.

The format: two zero bytes, the type (8: unsigned bytes), the number of dimensions, then each dimension as a
big-endian 32-bit integer, then the values (http://yann.lecun.com/exdb/mnist).
"""

import gzip
import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.datasets import MNIST, FashionMNIST

from experiments.datasets.dataset import InMemory, Pictures
from experiments.datasets.spec import DataError, found_at

FILES = {
    part: (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
    for part, prefix in (("train", "train"), ("test", "t10k"))
}
NAMES = [name for pair in FILES.values() for name in pair]
UNSIGNED_BYTES = 8
MOST_HELD_OUT = 500  # of each class's 6,000
EXPECTED = f"a folder with {', '.join(NAMES)}, each with or without .gz"
EXPECTED_FASHION = (
    f"{EXPECTED}, as torchvision's FashionMNIST/raw, Debian's package dataset-fashion-mnist "
    "(apt-get install dataset-fashion-mnist) or https://github.com/zalandoresearch/fashion-mnist has it"
)
EXPECTED_MNIST = (
    f"{EXPECTED}, as torchvision's MNIST/raw or http://yann.lecun.com/exdb/mnist has it"
)
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
# mean and standard deviation of the pixels of the 60,000 training images, in [0, 1]
FASHION_PIXELS, MNIST_PIXELS = (0.2860, 0.3530), (0.1307, 0.3081)


def read_fashion_mnist(path: Path) -> Pictures:
    """Fashion-MNIST's 70,000 articles of clothing.

    Raises:
        DataError: there is no such folder; a file in it is missing, cut off or something else.
    """
    return _read(path, tuple(FashionMNIST.classes), EXPECTED_FASHION)


def read_mnist(path: Path) -> Pictures:
    """MNIST's 70,000 digits; raises as `read_fashion_mnist`."""
    return _read(path, tuple(name[0] for name in MNIST.classes), EXPECTED_MNIST)


def _read(path: Path, class_names: tuple[str, ...], expected: str) -> Pictures:
    folder = find(path, expected)
    parts: dict[str, InMemory] = {}
    checksums: dict[str, str] = {}
    for part, names in FILES.items():
        images, labels = (read_idx(_file(folder, name, expected)) for name in names)
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise DataError(
                f"{folder} must have a label for each image of {part}, got images of shape "
                f"{images.shape} and labels of shape {labels.shape}"
            )
        if labels.max(initial=0) >= len(class_names):
            raise DataError(
                f"{folder} must have labels below {len(class_names)}, got {labels.max()}"
            )
        checksums |= {
            name: hashlib.sha256(values.tobytes()).hexdigest()
            for name, values in zip(names, (images, labels), strict=True)
        }
        parts[part] = InMemory(
            torch.from_numpy(images)[:, None], torch.from_numpy(labels.astype(np.int64))
        )
    identity = {"images": [len(part) for part in parts.values()], "sha256": checksums}
    train = parts["train"]
    return Pictures(train, train.labels.tolist(), parts["test"], class_names, identity, channels=1)


def find(path: Path, expected: str) -> Path:
    """The folder of the files, asked for by itself, from above (`raw`, `MNIST/raw`) or from within.

    Raises:
        DataError: it is not there.
    """
    below = sorted(path.glob("**/raw")) if path.is_dir() else []
    for folder in (path, path.parent, *below):
        if any((folder / f"{name}{end}").is_file() for name in NAMES for end in ("", ".gz")):
            return folder
    raise DataError(f"{path} must be or hold {expected}; found {found_at(path)}")


def _file(folder: Path, name: str, expected: str) -> Path:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.is_file():
            return file
    raise DataError(
        f"{folder / name} must be there, as part of {expected}; found {found_at(folder)}"
    )


def read_idx(file: Path) -> NDArray[np.uint8]:
    """The array of a file, of any number of dimensions.

    Raises:
        DataError: it is cut off, or no idx file of unsigned bytes.
    """
    try:
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError) as error:
        raise DataError(f"{file} must be a gzipped file, and cannot be read: {error}") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTES:
        raise DataError(
            f"{file} must begin as idx of unsigned bytes, 00 00 08, got {content[:4].hex(' ')}"
        )
    start = 4 + 4 * content[3]
    shape = [int(n) for n in np.frombuffer(content[4:start], ">u4")]
    if len(content) - start != math.prod(shape):
        raise DataError(
            f"{file} must hold {math.prod(shape)} bytes after its first {start}, got {len(content) - start}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()

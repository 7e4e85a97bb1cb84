"""Pickles run what they name: those of a stand-in are looked at before they are loaded.

The published files are known by their checksums. A stand-in's checksums lie beside its files, and whoever
changes one can change the other.
"""

from __future__ import annotations

import pickletools
from pathlib import Path

from experiments.datasets.errors import DataError

# what the pickle of an array names, in the first and the second numpy
ARRAYS = {
    "numpy.core.multiarray _reconstruct",
    "numpy._core.multiarray _reconstruct",
    "numpy ndarray",
    "numpy dtype",
    "_codecs encode",
}
NAMING = {"INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}


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

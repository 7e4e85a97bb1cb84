"""Tables of the UCI repository as R's package mlbench stores them: a data frame with one factor, the class.

The first rows train and the rest tests, as is usual for both: Frey and Slate, Letter Recognition Using
Holland-Style Adaptive Classifiers, Machine Learning 1991; Statlog (Landsat Satellite), UCI 1993.
"""

import hashlib
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.datasets.dataset import InMemory, hold_out, usual
from experiments.datasets.spec import DataError, found_at
from experiments.datasets.vectors import Vectors

DEBIAN = Path("/usr/lib/R/site-library/mlbench/data")
MOST_HELD_OUT = 500
TRAIN = {"LetterRecognition": 16_000, "Satellite": 4_435}


def expected(table: str) -> str:
    """What must lie at the path of a table."""
    return (
        f"a folder with {table}.rda, as Debian's package r-cran-mlbench (apt-get install "
        "r-cran-mlbench) has it, which rdata reads (pip install -e '.[real]')"
    )


def read_table(table: str, path: Path, cache: Path) -> Vectors:
    """The rows of a table.

    Args:
        table: a key of `TRAIN`.
        path: the file, or its folder.
        cache: not used.

    Raises:
        DataError: the file is not there, cut off, or holds something else.
    """
    file = path / f"{table}.rda" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{path} must be or hold {expected(table)}; found {found_at(path)}")
    frame = _frame(table, file)
    (target,) = frame.select_dtypes("category").columns
    classes = frame[target].cat
    samples = torch.from_numpy(frame.drop(columns=target).to_numpy(np.float32, copy=True))
    labels = torch.from_numpy(classes.codes.to_numpy(np.int64))
    first = TRAIN[table]
    if len(samples) <= first:
        raise DataError(f"{file} must have more than {first} rows, got {len(samples)}")
    each = usual(labels[:first].numpy(), MOST_HELD_OUT)
    stay, held = map(torch.from_numpy, hold_out(labels[:first].numpy(), each))
    chosen = {"train": stay, "validation": held, "test": torch.arange(first, len(samples))}
    content = hashlib.sha256(samples.numpy().tobytes() + labels.numpy().tobytes())
    return Vectors(
        {name: InMemory(samples[which], labels[which]) for name, which in chosen.items()},
        tuple(map(str, classes.categories)),
        {"train": first, "hold_out": each, "sha256": content.hexdigest()},
    )


read_letters = partial(read_table, "LetterRecognition")
read_satellite = partial(read_table, "Satellite")


def _frame(table: str, file: Path) -> Any:
    import pandas as pd
    import rdata

    try:
        with warnings.catch_warnings():
            # mlbench's files do not say that they are ASCII
            warnings.filterwarnings("ignore", message="Unknown encoding")
            found = rdata.read_rda(file)
    except Exception as error:
        raise DataError(f"{file} must be an R data file, and cannot be read: {error}") from error
    frame = found.get(table)
    if not isinstance(frame, pd.DataFrame) or len(frame.select_dtypes("category").columns) != 1:
        raise DataError(
            f"{file} must hold a data frame {table} with one factor, got {', '.join(found) or 'nothing'}"
        )
    return frame

"""R's own format: small files of it are read back, and what is broken is named."""

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.datasets import mlbench
from experiments.datasets.registry import open_data
from experiments.datasets.spec import DataError

rdata = pytest.importorskip("rdata")
ROWS, FIRST = 90, 60


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A table of two columns and a factor, whose second column is its row."""
    monkeypatch.setitem(mlbench.TRAIN, "Satellite", FIRST)
    write(tmp_path / "Satellite.rda", "Satellite")
    return tmp_path / "Satellite.rda"


def write(path, name, rows=ROWS):
    names = np.array(["soil", "crop", "stubble"])
    frame = pd.DataFrame(
        {
            "x.1": np.arange(rows) % 7.0,
            "x.2": np.arange(float(rows)),
            "classes": pd.Categorical(names[np.arange(rows) % 3], categories=names),
        }
    )
    rdata.write_rda(path, {name: frame})


def test_what_was_written_is_read(file):
    found = mlbench.read_satellite(file.parent, file.parent)
    assert found.class_names == ("soil", "crop", "stubble")
    rows = {name: part.samples[:, 1].tolist() for name, part in found.splits.items()}
    assert rows["test"] == list(range(FIRST, ROWS))
    assert sorted(rows["train"] + rows["validation"]) == list(range(FIRST))
    for part in found.splits.values():
        assert torch.equal(part.labels, part.samples[:, 1].long() % 3)
    assert torch.bincount(found.splits["validation"].labels).tolist() == [4, 4, 4]


def test_it_is_opened_by_name_and_standardised(file):
    data = open_data(f"satellite:{file}")
    assert data.shape == (2,) and data.classes == 3 and data.identity["name"] == "satellite"
    train = data.train.samples.samples
    assert train.mean(0).abs().max() < 1e-5 and (train.std(0) - 1).abs().max() < 1e-5
    raw = mlbench.read_satellite(file, file).splits["test"].samples[4]
    assert torch.allclose(data.prepare(raw), data.test[4][0])
    assert data.train[3, 5][1] == data.plain[5][1]


def test_what_is_missing_or_something_else_is_named(file, tmp_path):
    with pytest.raises(DataError, match=r"must be or hold .*LetterRecognition.rda.*r-cran-mlbench"):
        open_data(f"letters:{tmp_path}")
    write(file, "Shuttle")
    with pytest.raises(DataError, match="a data frame Satellite with one factor, got Shuttle"):
        open_data(f"satellite:{file}")
    write(file, "Satellite", FIRST)
    with pytest.raises(DataError, match=f"must have more than {FIRST} rows, got {FIRST}"):
        open_data(f"satellite:{file}")
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError, match="must be an R data file, and cannot be read"):
        open_data(f"satellite:{file}")


@pytest.mark.skipif(not mlbench.DEBIAN.is_dir(), reason="Debian's r-cran-mlbench is not installed")
def test_the_package_of_debian():
    letters, satellite = open_data("letters"), open_data("satellite")
    assert letters.class_names[0] == "A" and letters.shape == (16,) and len(letters.test) == 4000
    assert satellite.classes == 6 and satellite.shape == (36,) and len(satellite.test) == 2000

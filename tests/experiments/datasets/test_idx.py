"""MNIST's own format: small files of it are read back, and what is broken is named."""

import gzip
import re

import numpy as np
import pytest
import torch

from experiments.datasets.idx import DEBIAN, FILES, read_fashion_mnist, read_idx, read_mnist
from experiments.datasets.registry import open_data
from experiments.datasets.spec import DataError

COUNTS = {"train": 60, "test": 20}


def packed(values: np.ndarray) -> bytes:
    """An array of bytes as idx."""
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return head + values.astype(np.uint8).tobytes()


def arrays(part: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(COUNTS[part])
    return rng.integers(0, 256, (COUNTS[part], 28, 28)), np.arange(COUNTS[part]) % 10


@pytest.fixture(params=["", ".gz"])
def folder(request, tmp_path):
    """The four files, plain and gzipped."""
    for part, names in FILES.items():
        for name, values in zip(names, arrays(part), strict=True):
            content = packed(values)
            content = gzip.compress(content) if request.param else content
            (tmp_path / f"{name}{request.param}").write_bytes(content)
    return tmp_path


def test_what_was_written_is_read(folder):
    pictures = read_mnist(folder)
    assert pictures.class_names == tuple("0123456789") and pictures.channels == 1
    for part, found in (("train", pictures.train), ("test", pictures.test)):
        images, labels = arrays(part)
        assert len(found) == COUNTS[part]
        assert torch.equal(found.samples[:, 0], torch.from_numpy(images.astype(np.uint8)))
        assert found.labels.tolist() == labels.tolist()
    assert read_fashion_mnist(folder).class_names[9] == "Ankle boot"


def test_it_is_opened_by_name_and_normalised(folder):
    data = open_data(f"mnist:{folder}", scale="paper")
    assert data.shape == (1, 28, 28) and data.size == 28 and data.classes == 10
    assert (len(data.train), len(data.validation), len(data.test)) == (50, 10, 20)
    image, label = data.test[3]
    assert torch.allclose(
        image[0], (torch.from_numpy(arrays("test")[0][3]) / 255 - 0.1307) / 0.3081, atol=1e-5
    )
    assert label == 3 and torch.equal(data.train[5, 7][0], data.plain[7][0])
    assert set(data.identity["sha256"]) == {name for pair in FILES.values() for name in pair}


def test_the_folder_is_found_from_above_and_within(folder, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in folder.glob("*-ubyte*"):
        file.rename(raw / file.name)
    for place in (tmp_path, raw.parent, raw, next(raw.iterdir())):
        assert len(read_mnist(place).train) == 60


def test_what_is_missing_or_damaged_is_named(folder):
    (images, labels) = (next(folder.glob(f"{name}*")) for name in FILES["train"])
    whole = images.read_bytes()
    images.write_bytes(whole[:-40])
    with pytest.raises(DataError, match=f"{images.name} must"):
        read_mnist(folder)
    images.write_bytes(gzip.compress(b"text") if images.suffix else b"text")
    with pytest.raises(DataError, match="must begin as idx of unsigned bytes, 00 00 08, got 74 65"):
        read_mnist(folder)
    images.write_bytes(whole)
    labels.rename(folder / "elsewhere")
    with pytest.raises(DataError, match="train-labels-idx1-ubyte must be there, as part of"):
        read_mnist(folder)


def test_labels_belong_to_images_and_classes(folder):
    for file in folder.glob("*.gz"):
        file.unlink()
    for part, names in FILES.items():
        for name, values in zip(names, arrays(part), strict=True):
            (folder / name).write_bytes(packed(values))
    file = folder / FILES["test"][1]
    file.write_bytes(packed(np.arange(19) % 10))
    with pytest.raises(DataError, match="must have a label for each image of test, got images of"):
        read_mnist(folder)
    file.write_bytes(packed(np.full(20, 10)))
    with pytest.raises(DataError, match="must have labels below 10, got 10"):
        read_mnist(folder)


def test_a_cut_file_says_how_much_is_there(tmp_path):
    file = tmp_path / "few"
    file.write_bytes(packed(np.zeros((2, 3)))[:-1])
    with pytest.raises(DataError, match="few must hold 6 bytes after its first 12, got 5"):
        read_idx(file)


def test_without_a_folder_it_is_said_where_it_can_be_had():
    said = re.escape("mnist must have a path, mnist:PATH, of a folder with train-images-idx3-ubyte")
    with pytest.raises(DataError, match=said):
        open_data("mnist")
    with pytest.raises(DataError, match=r"/none must be or hold .*dataset-fashion-mnist.*nothing"):
        open_data("fashion:/none")


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_package_of_debian():
    data = open_data("fashion", scale="small")
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10_000)
    whole = data.train.samples.samples
    assert abs(float(whole.mean())) < 0.01 and abs(float(whole.std()) - 1) < 0.01

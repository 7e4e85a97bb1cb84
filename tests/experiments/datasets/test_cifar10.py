"""CIFAR-10's own format: what is written there is read back, and what is broken is named."""

import os
import pickle
import re
import shutil

import pytest
import torch
from torchvision.datasets import CIFAR10

from experiments.datasets.cifar10 import (
    MARK,
    PAGE,
    find,
    read_cifar10,
    reader_of,
    write_cifar10,
    write_mark,
)
from experiments.datasets.presets import StandIn
from experiments.datasets.spec import DataError
from experiments.datasets.synthetic.scenes import Scenes

SHOWN = StandIn(Scenes(size=32, classes=4, concepts=5), train=5, test=2)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("cifar10")
    write_cifar10(root, SHOWN)
    return root


@pytest.fixture
def root(written, tmp_path):
    """A copy to break."""
    return shutil.copytree(written, tmp_path / "data")


def test_reads_the_scenes_that_were_written(written):
    pictures = read_cifar10(written)
    assert pictures.class_names == tuple(SHOWN.scenes.class_names)
    for part, split, n in ((pictures.train, "train", 20), (pictures.test, "test", 8)):
        images, labels = SHOWN.scenes.tensors(split, n)
        assert len(part) == n and [part[i][1] for i in range(n)] == labels.tolist()
        read = torch.stack([part[i][0] for i in range(n)])
        assert read.dtype == torch.uint8
        assert (read / 255 - images).abs().max() <= 0.5 / 255 + 1e-6
    assert pictures.labels == SHOWN.scenes.tensors("train", 20)[1].tolist()


@pytest.mark.parametrize("place", ["", "cifar-10-batches-py", "cifar-10-batches-py/test_batch"])
def test_finds_the_folder_from_near_it(written, place):
    assert find(written / place) == written / "cifar-10-batches-py"


def test_the_folder_may_have_any_name(root):
    renamed = (root / "cifar-10-batches-py").rename(root / "cifar")
    assert len(read_cifar10(renamed).train) == 20


def test_published_checksums_hold_without_the_mark(root):
    (root / "cifar-10-batches-py" / MARK).unlink()
    with pytest.raises(
        DataError, match="data_batch_1 must have the md5 c99cafc152244af753f735de76"
    ):
        read_cifar10(root)
    kind = reader_of(root, None)
    assert (kind.train_list, kind.test_list, kind.meta) == (
        CIFAR10.train_list,
        CIFAR10.test_list,
        CIFAR10.meta,
    )


def test_a_cut_batch_is_named(root):
    file = root / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(
        DataError, match=r"data_batch_3 must have the md5 .*, its 1000 bytes"
    ) as error:
        read_cifar10(root)
    assert PAGE in str(error.value)


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
def test_a_missing_file_is_named(root, name):
    (root / "cifar-10-batches-py" / name).unlink()
    with pytest.raises(DataError, match=f"{name} must be there, as part of cifar-10-batches-py"):
        read_cifar10(root)


def test_a_file_that_the_mark_does_not_know(root):
    (root / "cifar-10-batches-py" / MARK).write_text("{}")
    with pytest.raises(DataError, match="data_batch_1 must have the md5 none, its"):
        read_cifar10(root)


def test_no_folder_an_empty_one_and_another(tmp_path):
    said = re.escape(f"cifar-10-python.tar.gz of {PAGE} unpacks to; found ")
    with pytest.raises(DataError, match=said + "nothing: there is no such folder"):
        read_cifar10(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=said + "an empty folder"):
        read_cifar10(tmp_path / "empty")
    with pytest.raises(DataError, match=said + "a folder with empty/"):
        read_cifar10(tmp_path)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"packed")
    with pytest.raises(DataError, match=said + "a file of 6 bytes"):
        read_cifar10(tmp_path / "cifar-10-python.tar.gz")
    for number in range(8):
        (tmp_path / f"{number}").mkdir()
    with pytest.raises(DataError, match="a folder with 0/, 1/, 2/, 3/, 4/, 5/ and 4 more"):
        read_cifar10(tmp_path)


class Hostile:
    """Makes a folder when its pickle is loaded."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize(
    "protocol, named", [(0, f"{os.name} mkdir"), (2, f"{os.name} mkdir"), (4, "STACK_GLOBAL")]
)
def test_a_stand_in_cannot_run_code(root, tmp_path, protocol, named):
    folder = root / "cifar-10-batches-py"
    content = {"labels": [], "data": Hostile(tmp_path / "made")}
    (folder / "data_batch_1").write_bytes(pickle.dumps(content, protocol=protocol))
    (folder / MARK).unlink()
    write_mark(folder)
    with pytest.raises(
        DataError, match=f"data_batch_1 must hold arrays and text alone, and names {named}"
    ):
        read_cifar10(root)
    assert not (tmp_path / "made").exists()


def test_a_stand_in_that_is_no_pickle(root):
    folder = root / "cifar-10-batches-py"
    (folder / "test_batch").write_bytes(b"text")
    (folder / MARK).unlink()
    write_mark(folder)
    with pytest.raises(DataError, match="test_batch must be a pickle, and is none"):
        read_cifar10(root)

"""Places365's folders of JPEG files: read in ImageFolder's order, and errors that say what is wrong."""

import re
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from experiments.datasets.places365 import PAGE, find, read_places365, write_places365
from experiments.datasets.presets import StandIn
from experiments.datasets.spec import DataError
from experiments.datasets.synthetic.scenes import Scenes

SHOWN = StandIn(Scenes(size=28, classes=12, concepts=8, noise=0.0), train=3, test=1)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("places365")
    write_places365(root, SHOWN)
    return root


@pytest.fixture
def root(written, tmp_path):
    """A copy to break."""
    return shutil.copytree(written, tmp_path / "data") / "places365_standard"


def test_reads_the_scenes_that_were_written(written):
    pictures = read_places365(written)
    scenes = replace(SHOWN.scenes, size=32)  # files are 8/7 as large as what a net sees
    assert len(pictures.train) == 36 and len(pictures.test) == 12
    images, labels = scenes.tensors("test", 12)
    order = torch.tensor([pictures.test[i][1] for i in range(12)])
    assert order.tolist() == labels.tolist() == list(range(12))
    read = torch.stack([pictures.test[i][0] for i in range(12)])
    assert read.dtype == torch.uint8
    same = (read / 255 - images).abs().mean()
    other = (read / 255 - images.roll(1, 0)).abs().mean()
    assert same < 0.03 < 0.1 < other
    assert pictures.labels == [pictures.train[i][1] for i in range(36)]


def test_labels_are_the_classes_in_alphabetical_order(tmp_path):
    for part in ("train", "val"):
        for number, name in enumerate(("volcano", "airfield", "beach")):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            Image.new("RGB", (2, 2), (50 * number, 0, 0)).save(folder / "1.png")
    pictures = read_places365(tmp_path)
    assert pictures.class_names == ("airfield", "beach", "volcano")
    reds = [
        (int(picture[0, 0, 0]), label)
        for picture, label in map(pictures.train.__getitem__, range(3))
    ]
    assert reds == [(50, 0), (100, 1), (0, 2)]


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours_become_rgb(root, mode):
    file = min((root / "val").rglob("*.jpg"))
    Image.new(mode, (5, 4)).save(file)
    assert read_places365(root).test[0][0].shape == (3, 4, 5)


@pytest.mark.parametrize("place", ["", "places365_standard", "places365_standard/val"])
def test_finds_the_folder_from_near_it(written, place):
    assert find(written / place) == written / "places365_standard"


def test_identity_is_that_of_the_names(root):
    before = read_places365(root).identity
    assert before == read_places365(root).identity and before["images"] == [36, 12]
    min((root / "train").rglob("*.jpg")).unlink()
    after = read_places365(root).identity
    assert after["train"] != before["train"] and after["test"] == before["test"]


@pytest.mark.parametrize("part, other", [("train", "val"), ("val", "train")])
def test_a_missing_part(root, part, other):
    shutil.rmtree(root / part)
    said = (
        f"places365_standard must have {part} beside {other}, as .*; found a folder with {other}/$"
    )
    for place in (root, root.parent):
        with pytest.raises(DataError, match=said):
            read_places365(place)


@pytest.mark.parametrize("part", ["train", "val"])
def test_an_empty_class_is_named(root, part):
    folder = min((root / part).iterdir())
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(DataError, match=f"{part} must have images in .* class.* {folder.name}"):
        read_places365(root)


def test_a_part_without_classes(root):
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    with pytest.raises(DataError, match="val must have images in the folder of every class"):
        read_places365(root)


def test_classes_that_differ(root):
    folder = min((root / "val").iterdir())
    folder.rename(folder.with_name("zoo"))
    said = f"same classes in train and val, got 2 in one of them alone: {folder.name}, zoo"
    with pytest.raises(DataError, match=re.escape(said)):
        read_places365(root)


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"no image", lambda b: b""]
)
def test_a_damaged_file_is_named_when_it_is_read(root, damage):
    file = min((root / "train").rglob("*.jpg"))
    file.write_bytes(damage(file.read_bytes()))
    pictures = read_places365(root)
    with pytest.raises(
        DataError, match=f"{file.name} must be an image, and cannot be read"
    ) as error:
        pictures.train[0]
    assert PAGE in str(error.value)
    assert pictures.train[1][0].shape == (3, 32, 32)


def test_no_folder_and_another(tmp_path):
    said = re.escape(f"places365standard_easyformat.tar of {PAGE} unpacks to; found ")
    with pytest.raises(DataError, match=said + "nothing: there is no such folder"):
        read_places365(tmp_path / "none")
    (tmp_path / "data_large").mkdir()
    with pytest.raises(DataError, match=said + "a folder with data_large/"):
        read_places365(tmp_path)

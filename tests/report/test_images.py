"""Folders of images: their order, every colour mode, and files that are broken."""

import numpy as np
import pytest
import torch
from PIL import Image

from interpretable_sgd.report.images import ClassFolders, Readable, class_order, shifted, to_input


def prepare(image):
    return to_input(image, size=8, resize=8, mean=[0.0], std=[1.0])


@pytest.fixture
def root(tmp_path):
    for c, name in enumerate(("b", "a")):
        (tmp_path / name).mkdir()
        for i in range(3):
            shade = 40 * c + 10 * i
            Image.new("RGB", (8, 8), (shade,) * 3).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_images_in_order_with_the_model_s_classes(root):
    folders = ClassFolders(root, prepare)
    assert folders.classes == ["a", "b"]
    batches = list(Readable(folders, batch=4, workers=0, order=[7, 5]))
    assert torch.cat([labels for _, labels in batches]).tolist() == [7, 7, 7, 5, 5, 5]
    shades = torch.cat([images[:, 0, 0, 0] for images, _ in batches]) * 255
    assert shades.round().tolist() == [40, 50, 60, 0, 10, 20]


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_files_are_named_once_and_skipped(root, workers):
    (root / "a" / "00.png").write_bytes(b"")
    whole = (root / "a" / "0.png").read_bytes()
    (root / "b" / "9.png").write_bytes(whole[: len(whole) // 2])
    loader = Readable(ClassFolders(root, prepare), batch=2, workers=workers, order=[0, 1])
    for _ in range(2):
        assert torch.cat([labels for _, labels in loader]).tolist() == [0, 0, 0, 1, 1, 1]
    assert [path.rpartition("/")[2] for path, _ in loader.skipped] == ["00.png", "9.png"]
    assert all(reason for _, reason in loader.skipped)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "RGBA", "1", "I;16"])
def test_every_mode_becomes_three_channels(mode):
    assert prepare(Image.new(mode, (12, 10))).shape == (3, 8, 8)


def test_the_centre_is_cut_out_and_normalised():
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:, 10:30] = 255
    found = to_input(Image.fromarray(pixels), 20, 20, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert torch.equal(found, torch.ones(3, 20, 20))


def test_limits_are_spread_evenly(root):
    folders = ClassFolders(root, prepare, limit=2)
    assert [path.rpartition("/")[2] for path, _ in folders.samples] == ["0.png", "2.png"]
    assert [label for _, label in folders.samples] == [0, 1]
    assert len(ClassFolders(root, prepare, limit=100)) == 6


def test_folders_without_images(tmp_path):
    with pytest.raises(ValueError, match=r"images must be a folder, and .* is none"):
        ClassFolders(tmp_path / "absent", prepare)
    with pytest.raises(
        ValueError, match=r"images must have a folder for each class, and .* has none"
    ):
        ClassFolders(tmp_path, prepare)
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match=r"images must hold images, and .* has none in its class"):
        ClassFolders(tmp_path, prepare)


def test_folders_and_names_meet_by_name():
    assert class_order(["x", "y"], None, 2) == (["x", "y"], [0, 1])
    # folders named otherwise, as many as outputs: in order
    assert class_order(["n01", "n02"], ["cat", "dog"], 2) == (["cat", "dog"], [0, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (["x"], None, 2),
            "images must have 2 class folders, one for each output of the model, got 1",
        ),
        ((["x"], ["x"], 2), "class names must be 2, one for each output, got 1"),
        ((["x"], ["y", "z"], 2), "class folders must be among the class names, got 'x'"),
    ],
)
def test_names_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        class_order(*arguments)


def test_a_shift_is_a_thirty_second_of_the_width():
    images = torch.arange(64.0).expand(1, 1, 2, 64)
    assert torch.equal(shifted(images)[0, 0, 0], torch.tensor([0.0, 0.0, *range(62)]))

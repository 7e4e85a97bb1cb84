"""Folders of images: their order, every colour mode, and files that are broken."""

import numpy as np
import pytest
import torch
from PIL import Image

from interpretable_sgd.report.images import (
    ClassFolders,
    Readable,
    channels_read,
    class_order,
    concept_input,
    shifted,
    to_input,
)


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
    found = class_order(["x", "y"], None, 2)
    assert found == (["x", "y"], [0, 1], "class folders in alphabetical order")
    # folders named otherwise, as many as outputs: in order, which is said
    found = class_order(["n01", "n02"], ["cat", "dog"], 2)
    assert found[:2] == (["cat", "dog"], [0, 1])
    assert found.reason == "no folder has a name of --class-names: folders in alphabetical order"


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


RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


def ramps():
    """The same picture in every depth that files have."""
    bytes_ = Image.fromarray((RAMP * 255).round().astype(np.uint8))
    deep = Image.fromarray((RAMP * 65535).round().astype(np.uint16))
    wide = Image.fromarray((RAMP * 65535).round().astype(np.int32))
    return {"L": bytes_, "I;16": deep, "I": wide, "F": Image.fromarray(RAMP.astype(np.float32))}


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_images_are_scaled_by_the_range_of_their_mode(tmp_path, mode, suffix, channels):
    if mode != "I;16" and suffix == "png":
        pytest.skip("PNG has 16 bits at most")
    ramps()[mode].save(tmp_path / f"a.{suffix}")
    with Image.open(tmp_path / f"a.{suffix}") as image:
        found = to_input(image, 32, 32, [0.0], [1.0], channels)
    expected = to_input(ramps()["L"], 32, 32, [0.0], [1.0], channels)
    assert found.shape == (channels, 32, 32)
    torch.testing.assert_close(found, expected, rtol=0, atol=1 / 255)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4), 255.0, dtype=np.float32), r"mode F must have values in 0 .. 1, got 255"),
        (np.full((4, 4), 70000, dtype=np.int32), r"mode I must have values in 0 .. 65535, got"),
        (np.full((4, 4), np.nan, dtype=np.float32), "must have finite values"),
    ],
)
def test_values_of_no_known_range_are_refused_and_named(tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        prepare(Image.fromarray(values))
    (tmp_path / "a").mkdir()
    Image.fromarray(values).save(tmp_path / "a" / "x.tif")
    image, _, path, reason = ClassFolders(tmp_path, prepare)[0]
    assert image is None and path.endswith("x.tif") and reason


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "F"])
def test_inputs_have_the_channels_of_the_model(mode, channels):
    found = to_input(Image.new(mode, (12, 10)), 8, 8, [0.0], [1.0], channels)
    assert found.shape == (channels, 8, 8)
    assert concept_input(torch.rand(3, 12, 10), 8, [0.0], [1.0], channels).shape == (channels, 8, 8)


def test_the_channels_of_a_model_are_those_of_its_first_convolution():
    conv = torch.nn.Conv2d
    assert channels_read(torch.nn.Sequential(conv(1, 8, 3), conv(8, 2, 3))) == 1
    assert channels_read(torch.nn.Linear(3, 2)) == 3 == channels_read(conv(7, 2, 1))


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1), (3, 5_000)])
def test_a_narrow_image_is_cut_before_it_is_enlarged(size):
    """As a whole it would be 224 x 2,240,000 pixels."""
    rows = np.arange(max(size), dtype=np.float64) % 251
    pixels = np.broadcast_to(rows if size[0] > 1000 else rows[:, None], (size[1], size[0]))
    image = Image.fromarray(pixels.astype(np.uint8))
    found = to_input(image, 32, 32, [0.0], [1.0])
    side, middle = min(size), max(size) // 2
    centre = float(pixels.flat[middle]) if side == 1 else None
    assert found.shape == (3, 32, 32)
    if centre is not None:
        assert abs(float(found[0, 16, 16]) * 255 - centre) <= 1.5


def test_a_bomb_is_skipped_and_named(root):
    import struct

    Image.new("RGB", (8, 8)).save(root / "b" / "hurt.bmp")
    content = bytearray((root / "b" / "hurt.bmp").read_bytes())
    content[18:26] = struct.pack("<ii", 60000, 60000)
    (root / "b" / "hurt.bmp").write_bytes(content)
    loader = Readable(ClassFolders(root, prepare), batch=2, workers=0, order=[0, 1])
    assert sum(len(labels) for _, labels in loader) == 6
    ((path, reason),) = loader.skipped
    assert path.endswith("hurt.bmp") and "exceeds limit" in reason


def test_hidden_folders_and_links_that_lead_back_are_no_classes_and_no_images(root):
    (root / ".ipynb_checkpoints").mkdir()
    Image.new("RGB", (8, 8)).save(root / ".ipynb_checkpoints" / "x.png")
    (root / "a" / ".thumbs").mkdir()
    Image.new("RGB", (8, 8)).save(root / "a" / ".thumbs" / "x.png")
    Image.new("RGB", (8, 8)).save(root / "a" / "._0.png")
    (root / "a" / "again").symlink_to(root / "a")
    (root / "a" / "deep").mkdir()
    Image.new("RGB", (8, 8)).save(root / "a" / "deep" / "7.png")
    folders = ClassFolders(root, prepare)
    assert folders.classes == ["a", "b"]
    names = [path.removeprefix(str(root)) for path, _ in folders.samples]
    assert names == ["/a/0.png", "/a/1.png", "/a/2.png", "/a/deep/7.png"] + [
        f"/b/{i}.png" for i in range(3)
    ]


def test_no_readable_image_is_an_error_that_names_one(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"")
    loader = Readable(ClassFolders(tmp_path, prepare), batch=2, workers=0, order=[0])
    with pytest.raises(ValueError, match=r"at least one image must be readable, .*x.png: "):
        list(loader)


@pytest.mark.parametrize(
    "names", [["\ufeffdog", "cat", "zebra"], ["dog ", " cat", "zebra\r"], ["dog", "cat", "zebra"]]
)
def test_marks_and_blanks_are_no_part_of_a_name(names):
    assert class_order(["cat", "dog", "zebra"], names, 3)[:2] == (
        ["dog", "cat", "zebra"],
        [1, 0, 2],
    )


@pytest.mark.parametrize(
    ("folders", "names", "message"),
    [
        (["cat", "dog", "zebra"], ["dog", "cat", "zebrra"], "got 'zebra': is it 'zebrra'?"),
        (["Cat", "Dog"], ["dog", "cat"], "got 'Cat': is it 'cat'?"),
        (["Ankle_boot", "Bag"], ["Bag", "Ankle boot"], "got 'Ankle_boot': is it 'Ankle boot'?"),
        (["aaa", "dog"], ["dog", "zzz"], r"got 'aaa', while \['zzz'\] have no folder"),
        (["dog", "cat"], ["dog", "dog"], "got 'cat'"),
        (["dog"], ["dog", "dog"], "class names must be distinct, and 'dog' is one twice"),
    ],
)
def test_some_names_that_match_and_some_that_do_not_are_an_error(folders, names, message):
    """All folders in alphabetical order would be other classes than the names say."""
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        class_order(folders, names, len(names))

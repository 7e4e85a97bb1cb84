"""Stamp scenes: masks are where a cut-out shows, and what is missing is named."""

import re

import pytest
import torch
from PIL import Image

from experiments.datasets.registry import open_data
from experiments.datasets.spec import DataError
from experiments.datasets.synthetic.stamps import DEBIAN, FILL, STAMPS, Stamps
from tests.experiments.datasets.cutouts import SHARE, colour, write_cutouts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_cutouts(tmp_path_factory.mktemp("stamps")))


def test_a_pixel_well_inside_a_mask_has_its_cut_outs_colour(folder):
    """Every pixel whose neighbours carry the same label; n = 48 images."""
    scenes = Stamps(folder=folder, size=96, noise=0.0, jitter=0.0)
    images, _ = scenes.tensors("test", 48)
    masks = scenes.masks("test", 48).float()
    inside = torch.nn.functional.avg_pool2d(masks, 5, 1, 2) == 1
    assert inside.sum() > 48 * 100
    for k in range(scenes.concepts):
        found = images.movedim(1, -1)[inside[:, k]]
        assert torch.allclose(found, torch.from_numpy(colour(k) / 255).float(), atol=0.03)


def test_masks_have_the_area_of_the_discs(folder):
    scenes = Stamps(folder=folder, size=96, noise=0.0, jitter=0.0, distractors=0)
    areas = scenes.masks("test", 24).sum((2, 3))
    side = 2 * FILL * 0.6 * 96 / 3
    assert abs(areas[areas > 0].double().quantile(0.9) / (SHARE * side**2) - 1) < 0.04
    assert torch.equal(areas > 0, scenes.composition)


def test_an_image_is_the_same_in_every_batch(folder):
    scenes = Stamps(folder=folder)
    assert torch.equal(scenes.tensors("train", [5])[0][0], scenes.tensors("train", 8)[0][5])


def test_where_the_cut_outs_lie_does_not_decide_and_what_they_show_does(folder, tmp_path):
    there = open_data(f"stamps:{folder},train=24,validation=24,test=24")
    assert there.shape == (3, 96, 96) and there.classes == 24
    copied = write_cutouts(tmp_path)
    assert open_data(f"stamps:{copied},train=24,validation=24,test=24").identity == there.identity
    Image.new("RGBA", (9, 9), "#ff000080").save(copied / f"{STAMPS[3]}.png")
    assert open_data(f"stamps:{copied},train=24,validation=24,test=24").identity != there.identity


def test_what_is_missing_or_no_cut_out_is_named(tmp_path):
    with pytest.raises(DataError, match=r"frog-1.png must be there, .*apt-get install tuxpaint"):
        open_data(f"stamps:{tmp_path}")
    write_cutouts(tmp_path)
    Image.new("RGB", (9, 9)).save(tmp_path / f"{STAMPS[0]}.png")
    with pytest.raises(DataError, match=r"frog-1.png must have an alpha channel, got RGB without"):
        Stamps(folder=str(tmp_path))
    Image.new("RGBA", (9, 9)).save(tmp_path / f"{STAMPS[0]}.png")
    with pytest.raises(DataError, match=r"frog-1.png must show something"):
        Stamps(folder=str(tmp_path))


@pytest.mark.parametrize(
    "options, said",
    [
        ({"size": 47}, "size must be an integer of at least 48, got 47"),
        ({"concepts": 41}, f"concepts must be an integer between 4 and {len(STAMPS)}, got 41"),
        ({"noise": 2}, "noise must be between 0.0 and 1.0, got 2"),
    ],
)
def test_refusals(folder, options, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Stamps(folder=folder, **options)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's tuxpaint-stamps-default is not installed")
def test_the_package_of_debian():
    scenes = Stamps(concepts=len(STAMPS))
    shown = scenes.masks("test", 24).any(-1).any(-1)
    assert (shown & scenes.composition).sum() == scenes.composition.sum()

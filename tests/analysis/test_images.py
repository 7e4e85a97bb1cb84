"""Heat keeps its place, pictures are as they were."""

import pytest
import torch

from interpretable_sgd.analysis import denormalized, heat
from interpretable_sgd.analysis.images import as_picture, shrunk, stretched


@pytest.mark.parametrize("size", [(7, 21), (30, 10), (1, 1)])
def test_heat_has_the_image_s_shape_and_the_map_s_place(size):
    """A map brightest in one corner is brightest there, in [0, 1], whatever the shapes."""
    activation = torch.zeros(3, 5)
    activation[2, 4] = 2.0
    found = heat(activation, size)
    assert found.shape == size and found.min() >= 0 and found.max() <= 1
    if size != (1, 1):
        assert found[-1, -1] == 1 and found[0, 0] == 0


@pytest.mark.parametrize("level", [0.0, 3.0, -1.0])
def test_flat_maps_give_no_heat(level):
    assert heat(torch.full((2, 3, 4), level), (6, 8)).count_nonzero() == 0


def test_pictures_of_inputs():
    image = torch.rand(3, 4, 4)
    assert torch.equal(stretched(image), image)
    assert stretched(4 * image - 2).min() >= 0 and stretched(4 * image - 2).max() <= 1
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    shape = (3, 1, 1)
    inputs = (image - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    assert torch.allclose(denormalized(mean, std)(inputs), image, atol=1e-6)


def test_large_pictures_shrink_and_keep_their_proportions():
    assert shrunk(torch.rand(3, 500, 250), 112).shape == (3, 112, 56)
    assert shrunk(torch.rand(3, 20, 30), 112).shape == (3, 20, 30)


def test_inputs_that_are_pictures_and_those_that_are_none():
    assert as_picture(torch.rand(1, 4, 5)).shape == (3, 4, 5)
    pixels = torch.rand(3, 4, 5)
    assert torch.equal(as_picture(pixels), (pixels * 255).round().byte())
    assert torch.equal(as_picture({"pixel_values": pixels}), as_picture(pixels))
    grey = as_picture(torch.rand(2, 4, 5))
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[0], grey[2])
    for none in (torch.rand(5), torch.rand(2, 3, 4, 4), {"ids": torch.zeros(4)}, (pixels,), None):
        assert as_picture(none) is None
    assert as_picture(pixels, None) is None
    with pytest.raises(ValueError, match=r"picture must give a picture .*, got \(4, 5\)"):
        as_picture(pixels, lambda image: image[0])

"""Heat keeps its place, pictures are as they were."""

import pytest
import torch

from interpretable_sgd.analysis import denormalized, heat
from interpretable_sgd.analysis.images import shrunk, stretched


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

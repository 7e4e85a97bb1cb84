import pytest
import torch
from torch.nn import functional

from interpretable_sgd.analysis.dissection.upsampling import corners, upsample

SHAPES = [
    ((7, 7), (112, 112)),
    ((5, 3), (17, 40)),
    ((9, 9), (4, 5)),
    ((1, 1), (3, 3)),
    ((4, 4), (4, 4)),
]


@pytest.mark.parametrize(("source", "size"), SHAPES)
def test_is_bilinear_interpolation_without_aligned_corners(source, size):
    maps = torch.randn(2, 3, *source)
    expected = functional.interpolate(maps, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsample(maps, size), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("source", "size"), SHAPES)
def test_never_exceeds_the_corners(source, size):
    """What lets counting skip a cell: to the last bit, also between equal and nearly equal corners."""
    torch.manual_seed(1)
    for maps in (torch.randn(200, *source), 1 + 1e-7 * torch.randint(0, 3, (200, *source))):
        large = upsample(maps, size)
        (low_y, high_y, _), (low_x, high_x, _) = (
            corners(*p) for p in zip(source, size, strict=True)
        )
        around = torch.stack(
            [maps[:, y][:, :, x] for y in (low_y, high_y) for x in (low_x, high_x)]
        )
        assert (large <= around.amax(0)).all()
        assert (large >= around.amin(0)).all()


def test_flat_maps_stay_flat():
    value = torch.tensor(0.1)
    assert (upsample(value.expand(1, 7, 7), (112, 112)) == value).all()

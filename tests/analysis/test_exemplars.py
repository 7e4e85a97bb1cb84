"""Exemplars are the images of the largest peaks, in whatever batches they come."""

import pytest
import torch
from torch import nn

from interpretable_sgd.analysis import exemplars


@pytest.mark.parametrize("size", [1, 3, 7, 40])
def test_the_largest_peaks_win_in_any_batches(size):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(40, 3, 5, 6, generator=generator)
    loader = list(zip(pixels.split(size), torch.arange(40).split(size), strict=True))
    layer = nn.Identity()
    found = exemplars(nn.Sequential(layer), loader, layer, [0, 2], count=4)
    for unit, kept in found.items():
        best = pixels[:, unit].amax((1, 2)).topk(4).indices.tolist()
        assert [exemplar.index for exemplar in kept] == best == [e.label for e in kept]
        for exemplar in kept:
            assert torch.equal(exemplar.map, pixels[exemplar.index, unit])
            expected = (pixels[exemplar.index] * 255).round().byte()
            assert torch.equal(exemplar.picture, expected)


def test_units_that_are_never_active_have_none():
    layer = nn.Identity()
    loader = [(torch.zeros(3, 2, 4, 4), torch.zeros(3, dtype=torch.long))]
    picture = torch.nn.Identity()
    found = exemplars(
        nn.Sequential(layer), loader, layer, [0, 1], picture=lambda image: picture(image[:1])
    )
    assert found == {0: [], 1: []}


def test_progress_and_maps_are_told():
    layer, told, seen = nn.Identity(), [], []
    loader = [(torch.rand(n, 3, 4, 4), torch.zeros(n, dtype=torch.long)) for n in (3, 2)]
    exemplars(
        nn.Sequential(layer),
        loader,
        layer,
        [0],
        report=told.append,
        look=lambda maps, first: seen.append((tuple(maps.shape), first)),
    )
    assert told == [3, 5]
    assert seen == [((3, 3, 4, 4), 0), ((2, 3, 4, 4), 3)]


def test_count_must_be_positive():
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        exemplars(nn.Identity(), [], nn.Identity(), [], count=0)

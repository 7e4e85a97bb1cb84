"""Nets: shapes, a head the optimizer finds, units the head reads, seeded initial weights."""

import pytest
import torch
from torch import nn

from experiments.models.classifiers import digits_resnet, glyph_net, small_resnet

CASES = [
    # architecture, channels, side, classes, units, side of the maps
    (small_resnet, 3, 24, 24, 64, 6),
    (digits_resnet, 1, 8, 10, 64, 4),
    (glyph_net, 1, 24, 20, 96, 12),
]


@pytest.mark.parametrize(
    ("architecture", "channels", "side", "classes", "units", "map_side"), CASES
)
def test_maps_units_and_logits_belong_together(
    architecture, channels, side, classes, units, map_side
):
    model = architecture(channels, classes).eval()
    images = torch.rand(3, channels, side, side)
    assert model.maps(images).shape == (3, units, map_side, map_side)
    assert model.units(images).shape == (3, units)
    assert model.units(images).min() >= 0
    assert torch.equal(model(images), model.fc(model.pool(model.maps(images))))
    assert model.fc.weight.shape == (classes, units)


@pytest.mark.parametrize("case", CASES)
def test_the_head_is_the_only_linear_layer(case):
    model = case[0](case[1], case[3])
    assert [name for name, m in model.named_modules() if isinstance(m, nn.Linear)] == ["fc"]


def test_resnet_has_a_block_per_width():
    model = small_resnet(3, 5, widths=(8, 8, 16), strides=(1, 1, 2))
    downsamples = [block.downsample is not None for block in model.maps[3:]]
    assert downsamples == [False, False, True]
    assert model.fc.in_features == 16


def test_widths_and_strides_must_pair():
    with pytest.raises(ValueError, match="shorter"):
        small_resnet(3, 5, widths=(8, 16), strides=(1,))

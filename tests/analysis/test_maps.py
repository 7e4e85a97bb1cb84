"""Layers found by module or name, and maps that are copies."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, squeezenet1_0

from interpretable_sgd.analysis.maps import captured, find_map_layer, layer_of


def test_layers_by_module_and_name():
    model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh()))
    assert layer_of(model, "0.1") == ("0.1", model[0][1]) == layer_of(model, model[0][1])
    assert layer_of(model, "") == ("", model)
    with pytest.raises(ValueError, match="layer must be a module of the model or its dotted name"):
        layer_of(model, nn.ReLU())


def test_maps_outlive_a_layer_that_works_in_place():
    model = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    pixels = torch.randn(1, 2, 3, 3)
    with captured(model[0]) as maps:
        model(pixels.clone())
    assert torch.equal(maps.values, pixels)


def test_layers_without_maps_are_refused_and_released():
    model = nn.Sequential(nn.Identity())
    with (
        pytest.raises(ValueError, match=r"layer must put out .*, got \(1, 2, 3\)"),
        captured(model[0]),
    ):
        model(torch.rand(1, 2, 3))
    assert not model[0]._forward_hooks


def flat(weights):
    """The head's units are those of a Linear layer, as VGG's are."""
    return nn.Sequential(
        nn.Conv2d(3, 2, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 4), nn.Linear(4, 3)
    )


@pytest.mark.parametrize(
    ("build", "units", "expected"),
    [
        (resnet18, 512, "layer4"),
        (squeezenet1_0, 512, "classifier.0"),
        (flat, 4, None),
    ],
)
def test_the_layer_of_the_head_s_units(build, units, expected):
    model = build(weights=None).train()
    assert find_map_layer(model, torch.rand(1, 3, 64, 64), units) == expected
    assert model.training and not any(module._forward_hooks for module in model.modules())

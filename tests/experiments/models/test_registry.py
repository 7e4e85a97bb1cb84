"""Networks by name."""

import pytest
import torch

from experiments.models.registry import MODELS, Model, units_of


@pytest.mark.parametrize("function", MODELS)
def test_every_model_maps_images_to_logits_and_shows_its_units(function):
    options = {"units": 48} if function in ("widened", "local") else {}
    model = Model(function, options).build((1, 24, 24), 7).eval()
    maps = []
    units_of(model).register_forward_hook(lambda module, inputs, output: maps.append(output))
    assert model(torch.rand(2, 1, 24, 24)).shape == (2, 7)
    assert maps[0].shape[1] == model.fc.in_features


def test_a_name_is_that_of_the_function_and_its_options_unless_it_is_given():
    assert Model("small_resnet").name == "small_resnet"
    assert Model("widened", {"units": 9}).name == "widened units=9"
    assert Model("resnet18", {"share": 0.25}, "resnet18").name == "resnet18"
    with pytest.raises(ValueError, match=r"model must be one of mlp, small_resnet, .*, got 'vgg'"):
        Model("vgg")

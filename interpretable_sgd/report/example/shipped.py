"""The net and the pictures that come with the package, read into a study.

Drawings of 64 x 64 pixels in ten classes; a class is the place that two things make, such as a boat and
a house a harbour. `experiments/example` draws them, trains the net and writes these files.
"""

import json
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from interpretable_sgd.analysis.concepts.arrays import ConceptArrays
from interpretable_sgd.analysis.study.record import Study
from interpretable_sgd.analysis.study.study import study as read
from interpretable_sgd.report.images import shifted

FOLDER = files("interpretable_sgd.report") / "example"
SIDE = 64  # of a picture
PERMUTATIONS = 39


def network(units: int, classes: int) -> nn.Sequential:
    """The net: three convolutions of a picture at half its size, the largest value of each map, a head.

    Args:
        units: that the head reads, >= 1.
        classes: number of logits, >= 1.

    >>> network(48, 10)(torch.rand(2, 3, 64, 64)).shape
    torch.Size([2, 10])
    """

    def block(inside: int, outside: int, stride: int = 1) -> list[nn.Module]:
        convolution = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        return [convolution, nn.BatchNorm2d(outside), nn.ReLU()]

    body = [nn.AvgPool2d(2), *block(3, 16), *block(16, 32, stride=2), *block(32, units)]
    return nn.Sequential(*body, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(units, classes))


def study() -> Study:
    """The study of the shipped net on the shipped pictures, none of which it was trained on.

    Needs the extra `report`, for its pictures; takes some seconds.
    """
    from safetensors.torch import load

    facts = json.loads((FOLDER / "facts.json").read_text(encoding="utf-8"))
    images = _tiles("pictures.webp", "RGB").permute(0, 3, 1, 2).float() / 255
    masks = _tiles("masks.png", "L")[..., 0][:, None] == torch.arange(
        1, len(facts["things"]) + 1
    ).view(-1, 1, 1)
    model = network(facts["units"], len(facts["places"]))
    state = load((FOLDER / "weights.safetensors").read_bytes())
    model.load_state_dict({name: value.float() for name, value in state.items()})
    labels = torch.arange(len(images) - len(masks)) % len(facts["places"])
    decided, named = images.tensor_split([len(labels)])
    return read(
        model,
        list(zip(decided.split(50), labels.split(50), strict=True)),
        class_names=list(facts["places"]),
        concepts=ConceptArrays.of_masks(named, masks, facts["things"]),
        truth=torch.tensor(
            [[thing in pair for thing in facts["things"]] for pair in facts["places"].values()]
        ),
        below="7",
        layer_below="6",
        training={name: tuple(curve) for name, curve in facts["training"].items()},
        augment=shifted,
        name="Example: ten places, drawn",
        permutations=PERMUTATIONS,
        config=facts["config"],
    )


def _tiles(name: str, mode: str) -> Tensor:
    """Pictures of a sheet, row by row, (n, side, side, channels), uint8."""
    with (FOLDER / name).open("rb") as file, Image.open(file) as sheet:
        pixels: Any = np.array(sheet.convert(mode))
    height, width = (length // SIDE for length in pixels.shape[:2])
    tiles = torch.from_numpy(pixels.reshape(height, SIDE, width, SIDE, len(mode)))
    return tiles.transpose(1, 2).flatten(0, 1)

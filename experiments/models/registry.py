"""Networks by name, built from the shape of a sample, the number of classes and a seed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from experiments.models import classifiers, resnets
from experiments.models.classifiers import Classifier

Shape = tuple[int, ...]
UNITS = "layer4"  # of a ResNet, whose maps, averaged, the head reads


def _of_images(
    build: Callable[..., nn.Module], shape: Shape, classes: int, **options: Any
) -> nn.Module:
    return build(shape[0], classes, **options)


def _of_vectors(shape: Shape, classes: int, **options: Any) -> nn.Module:
    return classifiers.mlp(math.prod(shape), classes, **options)


def _resnet(depth: int, shape: Shape, classes: int, **options: Any) -> nn.Module:
    return resnets.build(depth, classes, shape[-1], shape[0], **options)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": _of_vectors,
    "small_resnet": partial(_of_images, classifiers.small_resnet),
    "digits_resnet": partial(_of_images, classifiers.digits_resnet),
    "glyph_net": partial(_of_images, classifiers.glyph_net),
    "widened": partial(_of_images, classifiers.widened),
    "local": partial(_of_images, classifiers.local),
    "resnet18": partial(_resnet, 18),
    "resnet50": partial(_resnet, 50),
}


@dataclass(frozen=True)
class Model:
    """A network, as plain values.

    Attributes:
        function: a key of `MODELS`.
        options: of the function there.
        name: in tables and in the names of stored runs; the function and its options if it is "".

    >>> Model("widened", {"units": 128}).name
    'widened units=128'
    """

    function: str
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if self.function not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}, got {self.function!r}")
        words = [self.function, *(f"{key}={value}" for key, value in self.options.items())]
        object.__setattr__(self, "name", self.name or " ".join(words))

    def __hash__(self) -> int:
        return hash(self.name)

    def build(self, shape: Shape, classes: int) -> nn.Module:
        """The network for samples of a shape, with weights from torch's global generator.

        >>> Model("small_resnet").build((3, 24, 24), 10).fc
        Linear(in_features=64, out_features=10, bias=True)
        """
        return MODELS[self.function](shape, classes, **self.options)


def units_of(model: nn.Module) -> nn.Module:
    """The layer whose maps are the units that the head reads."""
    return model.maps if isinstance(model, Classifier) else model.get_submodule(UNITS)

"""Where in an image a unit is active: the output maps of a layer, captured while the model runs.

Index legend: `n` image, `u` unit of the layer, `h`, `w` positions of its map.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.forward import evaluating


@dataclass
class Maps:
    """What a layer put out in the last forward pass, (n, U, h, w)."""

    values: Tensor = field(default_factory=lambda: torch.empty(0))


def layer_of(model: nn.Module, layer: nn.Module | str) -> tuple[str, nn.Module]:
    """Name and module of a layer given as either.

    Raises:
        ValueError: the model has no such layer.

    >>> layer_of(nn.Sequential(nn.ReLU()), "0")
    ('0', ReLU())
    """
    for name, module in model.named_modules():
        if module is layer or name == layer:
            return name, module
    raise ValueError(f"layer must be a module of the model or its dotted name, got {layer!r}")


@contextmanager
def captured(layer: nn.Module) -> Iterator[Maps]:
    """Capture a copy of the layer's output maps in every forward pass inside; the hook goes with it.

    A copy, because the next layer may work in place. A layer that puts out one number for each unit,
    (n, u), has maps of one position.

    >>> layer = nn.Conv2d(3, 8, 1)
    >>> with captured(layer) as maps:
    ...     _ = layer(torch.rand(2, 3, 5, 5))
    >>> maps.values.shape, len(layer._forward_hooks)
    (torch.Size([2, 8, 5, 5]), 0)
    """
    maps = Maps()

    def keep(module: nn.Module, args: object, output: object) -> None:
        if not isinstance(output, Tensor) or output.dim() not in (2, 4):
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"layer must put out maps (n, u, h, w) or units (n, u), got {got}")
        values = output.detach().clone()
        maps.values = values if values.dim() == 4 else values[:, :, None, None]

    handle = layer.register_forward_hook(keep)
    try:
        yield maps
    finally:
        handle.remove()


@torch.no_grad()
def find_map_layer(model: nn.Module, example: Tensor, units: int) -> str | None:
    """The last layer whose output has one map, of more than one position, for each of the units.

    Args:
        model: run once on the example, in evaluation mode; its mode is restored.
        example: images, (n, channels, h, w).
        units: that the head reads.

    Returns:
        Its dotted name, or None: the head reads no maps.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    >>> find_map_layer(net, torch.rand(1, 3, 8, 8), 8)
    '1'
    """
    found: list[str] = []
    handles = []
    for name, module in model.named_modules():

        def look(module: nn.Module, args: object, output: object, name: str = name) -> None:
            shape = output.shape if isinstance(output, Tensor) else ()
            if len(shape) == 4 and shape[1] == units and shape[2] * shape[3] > 1:
                found.append(name)

        handles.append(module.register_forward_hook(look))
    try:
        with evaluating(model):
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return found[-1] if found else None

"""Layers of every kind with their inputs, and what each output unit of them is connected to.

Index legend: `c` output unit, `m` connection (input channel and kernel offset), `u` position.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A layer and an input without the batch dimension, by constructor arguments."""

    kind: type[nn.Module]
    arguments: dict
    shape: tuple[int, ...]

    def layer(self) -> nn.Module:
        torch.manual_seed(0)
        return self.kind(**self.arguments).double()

    def input(self, batch: int, seed: int = 1) -> Tensor:
        """Both signs, some zeros."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(batch, *self.shape, generator=generator, dtype=torch.float64)
        return torch.where(x.abs() < 0.1, 0.0, x)


def _conv(kind: type[nn.Module], inputs: int, outputs: int, kernel, shape, **rest) -> Case:
    arguments = {"in_channels": inputs, "out_channels": outputs, "kernel_size": kernel}
    return Case(kind, arguments | rest, (inputs, *shape))


CASES = {
    "linear": Case(nn.Linear, {"in_features": 5, "out_features": 3}, (5,)),
    "linear, no bias": Case(nn.Linear, {"in_features": 4, "out_features": 2, "bias": False}, (4,)),
    "linear, positions": Case(nn.Linear, {"in_features": 4, "out_features": 3}, (3, 4)),
    "linear, 2d positions": Case(nn.Linear, {"in_features": 3, "out_features": 2}, (2, 2, 3)),
    "conv1d": _conv(nn.Conv1d, 2, 3, 3, (6,)),
    "conv1d, stride, padding, dilation": _conv(
        nn.Conv1d, 2, 2, 2, (7,), stride=2, padding=1, dilation=2
    ),
    "conv1d, same": _conv(nn.Conv1d, 1, 2, 4, (5,), padding="same", dilation=2),
    "conv1d, reflect": _conv(nn.Conv1d, 2, 2, 3, (5,), padding=2, padding_mode="reflect"),
    "conv1d, depthwise": _conv(nn.Conv1d, 2, 4, 2, (4,), groups=2),
    "conv2d, 1x1": _conv(nn.Conv2d, 4, 3, 1, (2, 2)),
    "conv2d": _conv(nn.Conv2d, 2, 3, (2, 3), (4, 5), bias=False),
    "conv2d, all geometry": _conv(
        nn.Conv2d, 4, 4, (3, 2), (5, 6), stride=(2, 1), padding=(2, 0), dilation=(1, 2), groups=2
    ),
    "conv2d, valid": _conv(nn.Conv2d, 1, 2, 2, (3, 3), padding="valid"),
    "conv2d, same": _conv(nn.Conv2d, 2, 2, (2, 3), (3, 3), padding="same"),
    "conv2d, reflect": _conv(nn.Conv2d, 1, 2, 3, (4, 3), padding=1, padding_mode="reflect"),
    "conv2d, same reflect": _conv(
        nn.Conv2d, 2, 2, (2, 3), (3, 4), padding="same", padding_mode="reflect", groups=2
    ),
    "conv3d": _conv(nn.Conv3d, 1, 2, 2, (2, 3, 3)),
    "conv3d, all geometry": _conv(
        nn.Conv3d,
        2,
        2,
        (2, 1, 2),
        (3, 3, 4),
        stride=(1, 2, 2),
        padding=(1, 0, 1),
        dilation=(2, 1, 1),
        groups=2,
    ),
    "conv3d, reflect": _conv(nn.Conv3d, 1, 1, 2, (2, 2, 3), padding=1, padding_mode="reflect"),
}


def connections(layer: nn.Module, input: Tensor) -> list[list[list[float]]]:
    """x_cmu of one sample: what connection m of output unit c sees at position u, by indexing."""
    if isinstance(layer, nn.Linear):
        seen = input.reshape(-1, layer.in_features).T.tolist()
        return [seen] * layer.out_features
    groups = [_seen(layer, part) for part in input.chunk(layer.groups)]
    units = layer.out_channels // layer.groups
    return [seen for seen in groups for _ in range(units)]


def by_position(layer: nn.Module, output: Tensor) -> list[list[float]]:
    """One sample's outputs, or what is shaped as they are, as [c][u]."""
    if isinstance(layer, nn.Linear):
        return output.reshape(-1, layer.out_features).T.tolist()
    return output.flatten(1).tolist()


def _seen(layer: nn.Module, input: Tensor) -> list[list[float]]:
    sizes, axes = input.shape[1:], range(input.dim() - 1)
    before, after = zip(*(_padding(layer, axis) for axis in axes), strict=True)
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation

    def value(channel: int, offset: tuple[int, ...], start: tuple[int, ...]) -> float:
        place = [start[a] + dilation[a] * offset[a] - before[a] for a in axes]
        if layer.padding_mode == "reflect":
            mirrored = [abs(p) for p in place]
            place = [min(p, 2 * (n - 1) - p) for p, n in zip(mirrored, sizes, strict=True)]
        if any(not 0 <= p < n for p, n in zip(place, sizes, strict=True)):
            return 0.0
        return float(input[(channel, *place)])

    ends = [sizes[a] + before[a] + after[a] - dilation[a] * (kernel[a] - 1) for a in axes]
    starts = list(itertools.product(*(range(0, ends[a], stride[a]) for a in axes)))
    offsets = list(itertools.product(*map(range, kernel)))
    return [[value(c, k, t) for t in starts] for c in range(len(input)) for k in offsets]


def _padding(layer: nn.Module, axis: int) -> tuple[int, int]:
    """Zeros or mirrored entries before and after; 'same' puts the odd one after."""
    if layer.padding == "valid":
        return 0, 0
    if layer.padding == "same":
        total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
        return total // 2, total - total // 2
    return layer.padding[axis], layer.padding[axis]

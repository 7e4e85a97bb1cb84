"""Bytes that ranks send each other in a step: gradients as plain DDP, and the statistics of routed layers.

Claim: to route the head of a ResNet-50 adds less than a quarter to plain DDP's bytes, 24 % with 1000
classes and 9 % with 365; to route every layer makes them four times as many. Computed from the
shapes of torchvision's; a test counts the same bytes in the collectives of a small net.

    python -m experiments bench communication [--classes 1000 365] [--ranks 2 8 64] [--layers]

A ring's all-reduce of n bytes sends 2 (W - 1) / W n from each of W ranks.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from torch import nn

from experiments import store
from experiments.arguments import at_least
from experiments.methods import STATISTIC_PLANES

FLOAT32 = 4  # bytes; statistics are float32 or wider whatever the weights are
MEGABYTE = 1e6
ROUTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Layer(NamedTuple):
    """A layer that can be routed."""

    name: str
    shape: tuple[int, ...]
    weight: int  # bytes of its gradient
    statistic: int  # bytes of its statistic


def gradient_bytes(model: nn.Module) -> int:
    """What DDP reduces in a step: every gradient, in its parameter's dtype."""
    return sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)


def layers(model: nn.Module, method: str = "routed") -> list[Layer]:
    """Every layer that can be routed, in order.

    A statistic is a number for each connection of each of its planes.

    Args:
        model: not copied to anywhere.
        method: the optimizer's option.
    """
    return [
        Layer(
            name,
            tuple(module.weight.shape),
            module.weight.numel() * module.weight.element_size(),
            module.weight.numel() * STATISTIC_PLANES[method] * FLOAT32,
        )
        for name, module in model.named_modules()
        if isinstance(module, ROUTED)
    ]


def sent(size: float, ranks: int) -> float:
    """Bytes that each rank sends in a ring's all-reduce of so many.

    >>> sent(100, 1), sent(100, 2), sent(100, 4)
    (0.0, 100.0, 150.0)
    """
    return 2 * (ranks - 1) / ranks * size


def resnet50(classes: int) -> nn.Module:
    """torchvision's, without memory for its weights."""
    with torch.device("meta"):
        return torchvision.models.resnet50(num_classes=classes)


def choices(found: Sequence[Layer]) -> dict[str, list[Layer]]:
    """Which layers of a ResNet to route, from none to all."""
    last = [layer for layer in found if layer.name.startswith("layer4") or layer.name == "fc"]
    return {"none: plain DDP": [], "head": [found[-1]], "layer4 and head": last, "all": [*found]}


def rows(model: nn.Module, ranks: Sequence[int]) -> dict[str, store.Record]:
    """By choice, bytes of the statistics and what each rank sends, in all and over plain DDP."""
    gradients = gradient_bytes(model)
    return {
        name: {
            "layers": len(routed),
            "statistics": (statistics := sum(layer.statistic for layer in routed)),
            "sent": {str(w): sent(gradients + statistics, w) for w in ranks},
            "ratio": (gradients + statistics) / gradients,
        }
        for name, routed in choices(layers(model)).items()
    }


def main(argv: Sequence[str]) -> int:
    """Print a table for each number of classes."""
    parser = argparse.ArgumentParser(prog="experiments bench communication", description=__doc__)
    parser.add_argument("--classes", type=at_least(1), nargs="+", default=[1000, 365])
    parser.add_argument("--ranks", type=at_least(1), nargs="+", default=[2, 8, 64])
    parser.add_argument("--layers", action="store_true", help="a row for each layer, too")
    parser.add_argument("--out", type=Path, help="write the answer as JSON")
    args = parser.parse_args(argv)
    answer = {}
    for classes in args.classes:
        model = resnet50(classes)
        answer[str(classes)] = table = rows(model, args.ranks)
        print(f"\nResNet-50, {classes} classes; MB a step\n")
        print("| routed | layers | statistics | over plain DDP |", end="")
        print("".join(f" sent by each of {w} |" for w in args.ranks))
        print("|---|" + "---|" * (3 + len(args.ranks)))
        for name, row in table.items():
            print(
                f"| {name} | {row['layers']} | {_mb(row['statistics'])} | {row['ratio']:.3f} |",
                end="",
            )
            print("".join(f" {_mb(size)} |" for size in row["sent"].values()))
        if args.layers:
            print("\n| layer | weight | gradient | statistic |\n|---|---|---|---|")
            for layer in layers(model):
                shape = " x ".join(map(str, layer.shape))
                print(f"| {layer.name} | {shape} | {_mb(layer.weight)} | {_mb(layer.statistic)} |")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        store.write_json(args.out, answer)
    return 0


def _mb(size: float) -> str:
    return f"{size / MEGABYTE:.2f}"

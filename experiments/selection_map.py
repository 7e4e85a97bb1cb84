"""Figure 3's scene: which positions of one map EM routing and Dynamic-K let speak; Figure 1's layer.

    python -m experiments selection-map [--out runs/figures]

A 7 x 7 map holds one bright object and faint clutter; three classes weigh its positions differently.
EM routing gathers the positions whose votes lie within one standard deviation of the class mean: with
most votes near zero, these are the many that say nothing. Dynamic-K takes the k largest votes.
Figure 1's layer has random weights of six units, and two inputs. Writes selection_map.json and draws both.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from experiments.figures.fig1 import fig1
from experiments.figures.fig3 import fig3
from interpretable_sgd import DynamicConv2d, DynamicLinear, EMRoutingLinear

SIDE, K = 7, 5
CENTRES = {"cat": (2.0, 2.0), "dog": (2.0, 4.0), "pig": (5.0, 3.0)}


class Choice(NamedTuple):
    """Votes [class, position]; EM's means and deviations [class]; both rules' positions, bool."""

    votes: Tensor
    means: Tensor
    deviations: Tensor
    near: Tensor
    largest: Tensor


def scene() -> tuple[Tensor, Tensor]:
    """Activations [position] of the map and weights [class, position]."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")

    def bump(row: float, column: float, width: float) -> Tensor:
        return (-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2)).exp()

    clutter = 0.15 * torch.rand(SIDE, SIDE, generator=generator)
    weights = [
        bump(*centre, 1.2) - 0.2 + 0.1 * torch.randn(SIDE, SIDE, generator=generator)
        for centre in CENTRES.values()
    ]
    return (bump(2, 3, 1.2) + clutter).flatten(), torch.stack(weights).flatten(1)


@torch.no_grad()
def choose(x: Tensor, weight: Tensor) -> Choice:
    """What both layers choose with the same weights."""
    classes, positions = weight.shape
    routed = EMRoutingLinear(positions, classes, bias=False)
    dynamic = DynamicLinear(positions, classes, K, bias=False)
    for layer in (routed, dynamic):
        layer.load_state_dict({"weight": weight})
    votes = weight * x
    means, share = routed.clusters(x)
    deviations = ((share * (votes - means) ** 2).sum(-1) / share.sum(-1)).sqrt()
    near = (votes - means).abs() <= deviations[:, None]
    return Choice(votes, means.squeeze(-1), deviations, near, kept(dynamic, x, positions))


def kept(layer: DynamicLinear | DynamicConv2d, x: Tensor, units: int) -> Tensor:
    """Which units each output of a routed layer reads, bool [..., output, unit]."""
    chosen = layer.routes(x).units
    # an empty slot marks a unit beyond the last, which is cut off
    table = torch.zeros(*chosen.shape[:-1], units + 1, dtype=torch.bool)
    return table.scatter(-1, chosen.where(chosen >= 0, units), True)[..., :-1]


@torch.no_grad()
def mechanism() -> dict[str, object]:
    """Figure 1's layer, its weights [output, unit], and what two inputs make it read."""
    generator = torch.Generator().manual_seed(1)
    weight, inputs = (torch.rand(n, 6, generator=generator) for n in (3, 2))
    layer = DynamicLinear(6, 3, 2, bias=False)
    layer.load_state_dict({"weight": weight})
    choices = kept(layer, inputs, 6)
    return {
        "k": 2,
        "weight": weight.tolist(),
        "inputs": inputs.tolist(),
        "kept": choices.tolist(),
    }


def main(argv: Sequence[str]) -> int:
    """Store and draw the scene, and print how many positions each rule takes."""
    parser = argparse.ArgumentParser(prog="experiments selection_map", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/figures"))
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    x, weight = scene()
    choice = choose(x, weight)
    stored = {
        "side": SIDE,
        "k": K,
        "classes": list(CENTRES),
        "map": x.tolist(),
        "layer": mechanism(),
    }
    stored |= {name: value.tolist() for name, value in choice._asdict().items()}
    (args.out / "selection_map.json").write_text(json.dumps(stored) + "\n")
    for name, votes, near, largest in zip(
        CENTRES, choice.votes, choice.near, choice.largest, strict=True
    ):
        positive = votes.clamp(min=0).sum()
        print(
            f"{name}: EM takes {int(near.sum())} of {votes.numel()} positions with "
            f"{votes[near].clamp(min=0).sum() / positive:.0%} of the positive votes, "
            f"Dynamic-{K} takes {int(largest.sum())} with {votes[largest].sum() / positive:.0%}"
        )
    print(*fig1((), args.out), *fig3((), args.out), sep="\n")
    return 0

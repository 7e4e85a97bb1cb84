"""`python -m theory gallery`: trajectories of all methods on textbook surfaces and counterexamples.

Pictures are for looking, not for verdicts: what is drawn is one seeded run of each optimizer. Adam,
AdamW and Muon take the learning rate, of a grid, whose last tenth of a run has the least mean loss;
SGD does, too, and what selects connections on top of SGD takes SGD's.

    python -m theory gallery                  docs/pictures/gallery-light.svg and its dark twin
    python -m theory gallery --out runs       elsewhere
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from interpretable_sgd import InterpretableSGD
from theory.rate_test.optimizer_runs import unwarned
from theory.reference.problems import Array
from theory.store import ROOT
from theory.surfaces import Surface, surfaces

RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 2.0)
Build = Callable[[Surface, list[nn.Parameter], float], torch.optim.Optimizer]


def _ours(method: str, **options: Any) -> Build:
    def build(surface: Surface, weights: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        own: dict[str, Any] = {"block_size": surface.block, "method": method, "seed": 0} | options
        if method == "routed":
            own |= {"form": surface.steps * 3 // 10, "settle": surface.steps // 2}
        return InterpretableSGD(weights, lr=lr, momentum=surface.momentum, **own)

    return build


def _adamw(surface: Surface, weights: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weights, lr=lr, weight_decay=0.01)


def _muon(surface: Surface, weights: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.Muon(weights, lr=lr, weight_decay=0.0)


METHODS: dict[str, tuple[Build, str]] = {
    "SGD": (lambda s, w, lr: torch.optim.SGD(w, lr=lr, momentum=s.momentum), "0.5"),
    "Adam": (lambda s, w, lr: torch.optim.Adam(w, lr=lr), "C0"),
    "AdamW": (_adamw, "C9"),
    "Muon": (_muon, "C4"),
    "shared masks": (_ours("shared", form=0, shrink=0.0), "C1"),
    "Algorithm 3 as printed": (_ours("algorithm3"), "C3"),
    "InterpretableSGD": (_ours("routed"), "C2"),
}
"""How an optimizer is built, and its colour."""
ON_SGD = ("shared masks", "Algorithm 3 as printed", "InterpretableSGD")


class Trajectory(NamedTuple):
    """A run: weights (steps + 1, O M), losses (steps + 1,), and its learning rate."""

    weights: Array
    losses: Array
    lr: float


@unwarned()
def run(surface: Surface, build: Build, lr: float) -> Trajectory:
    """One run from the surface's start; the samples are the same for all methods."""
    generator = torch.Generator().manual_seed(0)
    outputs, inputs = surface.start.shape
    layer = nn.Linear(inputs, outputs, bias=False, dtype=torch.float64)
    layer.weight.data.copy_(surface.start)
    optimizer = build(surface, list(layer.parameters()), lr)
    weights, losses = [], []

    def note() -> None:
        W = layer.weight.detach().clone()
        weights.append(W.flatten().numpy())
        losses.append(float(surface.value(W)))

    for _ in range(surface.steps):
        note()
        rows = torch.arange(len(surface.targets))
        if surface.batch:
            rows = torch.randint(len(rows), (surface.batch,), generator=generator)
        optimizer.zero_grad()
        surface.loss(layer(surface.inputs[rows]), surface.targets[rows]).backward()
        optimizer.step()
    note()
    return Trajectory(np.array(weights), np.array(losses), lr)


def paths(surface: Surface) -> dict[str, Trajectory]:
    """A run of every method."""
    found: dict[str, Trajectory] = {}
    for name, (build, _) in METHODS.items():
        if name == "Muon" and not hasattr(torch.optim, "Muon"):
            continue
        tried = tuple(lr for lr in RATES if lr <= surface.largest_rate)
        rates = (found["SGD"].lr,) if name in ON_SGD else tried
        runs = [run(surface, build, lr) for lr in rates]
        found[name] = min(runs, key=_late_loss)
    return found


def _late_loss(of: Trajectory) -> float:
    late = of.losses[-max(1, len(of.losses) // 10) :].mean()
    return float(late) if np.isfinite(late) else np.inf


def draw(of: list[tuple[Surface, dict[str, Trajectory]]], path: Path, dark: bool) -> Path:
    """The picture, in one of two colour schemes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    ink, page = ("#e4e7eb", "#14181d") if dark else ("#1c2127", "white")
    style: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), ink
    )
    with rc_context(style | {"svg.hashsalt": "gallery", "font.size": 8}):
        columns = min(4, len(of))
        rows = -(-len(of) // columns)
        figure = Figure(figsize=(3 * columns, 3 * rows + 0.5), layout="constrained")
        figure.set_facecolor(page)
        grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
        for axes in grid[len(of) :]:
            axes.set_axis_off()
        for axes, (surface, runs) in zip(grid, of, strict=False):
            axes.set_facecolor(page)
            (_plane if surface.window else _curves)(axes, surface, runs, dark)
            axes.set_title(f"{surface.name}\n", fontsize=9)
            axes.text(
                0.5, 1.02, surface.remark, transform=axes.transAxes, ha="center", fontsize=6.5
            )
        handles = dict(zip(*reversed(grid[0].get_legend_handles_labels()), strict=True))
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=len(handles),
            frameon=False,
        )
        figure.savefig(path, metadata={"Date": None})
    return path


def _plane(axes: Any, surface: Surface, runs: dict[str, Trajectory], dark: bool) -> None:
    """Levels of F, and trajectories over them."""
    assert surface.window is not None
    (left, right), (low, high) = surface.window
    a, b = np.meshgrid(np.linspace(left, right, 60), np.linspace(low, high, 60))
    points = torch.from_numpy(np.stack([a, b], axis=-1).reshape(-1, 1, 2))
    F = np.array([float(surface.value(W)) for W in points]).reshape(a.shape)
    levels = F.min() + np.geomspace(1e-3, 0.9, 14) * (F.max() - F.min())
    axes.contour(a, b, F, levels, colors="0.4" if dark else "0.75", linewidths=0.6)
    # What is drawn first lies below.
    for name, of in runs.items():
        w = of.weights[_shown(of)]
        axes.plot(w[:, 0], w[:, 1], color=METHODS[name][1], lw=1.1, alpha=0.8, label=name)
        axes.plot(*w[-1], "o", color=METHODS[name][1], ms=4)
    if surface.best:
        axes.plot(*surface.best, "*", color=axes.xaxis.label.get_color(), ms=9, zorder=3)
    axes.set(xlim=(left, right), ylim=(low, high))


def _shown(of: Trajectory) -> NDArray[np.int64]:
    """The steps that are drawn: all of the first, then ever fewer, and the last."""
    last = len(of.losses) - 1
    return np.unique(np.geomspace(1, last + 1, 300).round().astype(np.int64) - 1)


def _curves(axes: Any, surface: Surface, runs: dict[str, Trajectory], dark: bool) -> None:
    """The loss against the step."""
    for name, of in runs.items():
        steps = _shown(of)[1:]
        axes.plot(steps, of.losses[steps], color=METHODS[name][1], lw=1.1, alpha=0.8, label=name)
    axes.set(yscale="log", xscale="log", xlabel="step", ylabel="loss")


def main(argv: Sequence[str]) -> int:
    """Returns the exit status."""
    arguments = argparse.ArgumentParser(
        "python -m theory gallery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    options = arguments.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    of = []
    for surface in surfaces():
        of.append((surface, paths(surface)))
        ends = ", ".join(
            f"{name} {run.losses[-1]:.3g} ({run.lr:g})" for name, run in of[-1][1].items()
        )
        print(f"{surface.name}: loss at the end (learning rate): {ends}", flush=True)
    for scheme in ("light", "dark"):
        print(f"wrote {draw(of, options.out / f'gallery-{scheme}.svg', scheme == 'dark')}")
    return 0

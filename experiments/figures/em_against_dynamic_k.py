"""Figure 3: which positions of one map EM routing and Dynamic-K let speak for each class.

    python -m experiments.figures.em_against_dynamic_k [--out runs/figures]

A 7 x 7 map holds one bright object and faint clutter; three classes weigh its positions
differently. EM routing gathers the positions whose votes lie within one standard deviation of the
class mean: with most votes near zero, these are the many that say nothing. Dynamic-K takes the k
largest votes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from interpretable_sgd.em_routing import em_routing
from interpretable_sgd.routing import select

SIDE, K = 7, 5
CENTRES = {"cat": (2.0, 2.0), "dog": (2.0, 4.0), "pig": (5.0, 3.0)}
BLUE, RED = "#1c7ed6", "#e03131"


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


def selections(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Votes, EM means and deviations, and masks of both choices.

    Returns:
        votes [class, position]; means and deviations [2, class]; EM's and Dynamic-K's masks, bool.
    """
    votes = weight * x
    clusters = em_routing(votes.unsqueeze(-1))
    share = clusters.responsibilities
    means = clusters.means
    deviations = ((share * (votes - means) ** 2).sum(-1) / share.sum(-1)).sqrt()
    near = (votes - means).abs() <= deviations[:, None]
    kept = select(votes, K, at_most=True)
    # empty slots mark a position beyond the map, which is cut off
    largest = torch.zeros(len(votes), x.numel() + 1, dtype=torch.bool)
    largest.scatter_(1, kept.where(kept >= 0, x.numel()), True)
    return votes, torch.stack([means.squeeze(-1), deviations]), near, largest[:, :-1]


def em_against_dynamic_k(out: Path) -> Path:
    """Draw em_against_dynamic_k.png."""
    x, weight = scene()
    votes, gaussians, near, largest = selections(x, weight)
    figure = Figure(figsize=(3.2 * (len(CENTRES) + 1), 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(CENTRES) + 1, height_ratios=[3, 2])
    panels[0, 0].imshow(x.view(SIDE, SIDE).numpy(), cmap="Greys")
    panels[0, 0].set_title("one feature map, x", fontsize=10)
    panels[1, 0].axis("off")
    panels[1, 0].text(
        0,
        0.95,
        "blue: EM routing, positions within\none deviation of the class mean\n\n"
        f"red: Dynamic-{K}, the {K} largest\npositive votes",
        va="top",
        fontsize=9,
    )
    for c, name in enumerate(CENTRES):
        axes = panels[0, c + 1]
        axes.imshow(votes[c].view(SIDE, SIDE).numpy(), cmap="Greys")
        _outline(axes, near[c], BLUE, 0.36)
        _outline(axes, largest[c], RED, 0.44)
        listed = f"EM {int(near[c].sum())} positions, Dynamic-{K} {int(largest[c].sum())}"
        axes.set_title(f"{name}: votes w x\n{listed}", fontsize=10)
        _distribution(panels[1, c + 1], votes[c], gaussians[:, c], largest[c])
    for axes in panels[0]:
        axes.set_xticks([])
        axes.set_yticks([])
    path = out / "em_against_dynamic_k.png"
    figure.savefig(path, dpi=140)
    return path


def _outline(axes: Axes, mask: Tensor, colour: str, half: float) -> None:
    for row, column in mask.view(SIDE, SIDE).nonzero().tolist():
        x = [column - half, column + half, column + half, column - half, column - half]
        y = [row - half, row - half, row + half, row + half, row - half]
        axes.plot(x, y, color=colour, linewidth=1.6)


def _distribution(axes: Axes, votes: Tensor, gaussian: Tensor, largest: Tensor) -> None:
    """All votes of a class on a line, the ball of EM routing and the choice of Dynamic-K."""
    mean, deviation = gaussian.tolist()
    axes.axvspan(mean - deviation, mean + deviation, color=BLUE, alpha=0.2)
    axes.axvline(mean, color=BLUE, linewidth=1)
    axes.hist(votes.tolist(), bins=30, color="#adb5bd")
    axes.plot(votes[largest].tolist(), [0] * int(largest.sum()), "^", color=RED, clip_on=False)
    axes.set_xlabel("vote")
    axes.set_ylabel("positions")
    axes.spines[["top", "right"]].set_visible(False)


def main(argv: Sequence[str]) -> int:
    """Draw the figure and print how many positions each rule takes."""
    parser = argparse.ArgumentParser(prog="experiments figure 3", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/figures"))
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    votes, _, near, largest = selections(*scene())
    for name, row, ball, top in zip(CENTRES, votes, near, largest, strict=True):
        positive = row.clamp(min=0).sum()
        print(
            f"{name}: EM takes {int(ball.sum())} of {row.numel()} positions with "
            f"{row[ball].clamp(min=0).sum() / positive:.0%} of the positive votes, "
            f"Dynamic-{K} takes {int(top.sum())} with {row[top].sum() / positive:.0%}"
        )
    print(em_against_dynamic_k(args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

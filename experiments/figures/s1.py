"""The supplement's Figure 1: weights of the routed 1x1 convolutions and of the head, beside the dense net's."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.evaluation.selection import THRESHOLD
from experiments.figures import weight_maps
from experiments.figures.series import DENSE, INNER, SCALE, first, runs_of
from experiments.figures.style import PlottedNumbers, Scheme, canvas, data_of, publish
from experiments.store import Stored

PANELS = {
    "layer2 to layer3_0": ("inner:layer3.0", "layer3.0.downsample.0.weight"),
    "layer3 to layer4_0": ("inner:layer4.0", "layer4.0.downsample.0.weight"),
    "layer4 to classes": ("weight", "fc.weight"),
}


def s1(
    stored: Sequence[Stored], out: Path, data: str = "places365", scale: str = SCALE
) -> list[Path]:
    """Draw three pairs of weight maps; units read are rows, what reads them columns, one scale in a pair.

    The dense net has no convolution before a stage; its 1x1 convolution between the same layers is the
    shortcut of the stage's first block.

    Raises:
        MissingRuns: Res18-d[32,32,5]a or Res18 was never trained on these data.
    """
    runs = first(runs_of("s1", stored, [INNER, DENSE], data, scale))
    routed, dense = runs[INNER], runs[DENSE]
    plain = dense.weights()
    pairs = {
        panel: {INNER.label: routed.arrays[inner], DENSE.label: plain[name].flatten(1).numpy()}
        for panel, (inner, name) in PANELS.items()
    }
    title = f"Weights between layers, {data_of(data)} at scale {scale}"
    told = f"{title}; seed {routed['seed']} of routed, {dense['seed']} of dense"

    def draw(scheme: Scheme) -> Figure:
        figure = canvas(14, 5.4)
        for part, (panel, weights) in zip(
            figure.subfigures(1, len(pairs), squeeze=False)[0], pairs.items(), strict=True
        ):
            norm = weight_maps.scale_of(list(weights.values()))
            axes = part.subplots(1, len(weights), squeeze=False)[0]
            for place, (model, weight) in zip(axes, weights.items(), strict=True):
                picture = weight_maps.draw(place, weight, norm, scheme)
                said = (
                    f"{model}\n{weight_maps.empty(weight):.0%} empty, {_open(weight):.1f} an output"
                )
                place.set_title(said, fontsize=8.5)
            outputs, units = next(iter(weights.values())).shape
            axes[0].set_ylabel(f"{units} units")
            part.supxlabel(f"{outputs} outputs", fontsize=9)
            part.suptitle(panel, fontsize=10.5, fontweight="bold")
            weight_maps.colour_bar(part, picture, axes)
        figure.suptitle(told, fontsize=11)
        return figure

    rows = (row for panel, weights in pairs.items() for row in weight_maps.table(panel, weights))
    return publish(out, "s1", title, draw, PlottedNumbers(weight_maps.COLUMNS, rows))


def _open(weight: np.ndarray) -> float:
    """Mean number of weights of an output that are not drawn empty."""
    return float((abs(weight) >= THRESHOLD).sum(1).mean())

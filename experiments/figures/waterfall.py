"""Parts of a logit as bars that start where the part before ends, and a unit's map as heat over its image."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes


def waterfall(
    axes: Axes,
    labels: Sequence[str],
    values: Sequence[float],
    colour: str,
    ink: str,
    pale: str,
) -> None:
    """Draw parts from top to bottom.

    Args:
        axes: a panel of its own.
        labels: of the values.
        values: the units' parts, then two that no unit stands for, then the sum.
        colour: of the units' bars.
        ink: of the sum and of the zero line.
        pale: of the two others.
    """
    starts = [0.0, *np.cumsum(values[:-1])[:-1], 0.0]
    colours = [colour] * (len(values) - 3) + [pale, pale, ink]
    rows = range(len(values))
    axes.barh(rows, values, left=starts, color=colours, height=0.7)
    axes.axvline(0, color=ink, linewidth=0.8)
    reach = [0.0, *np.cumsum(values[:-1])]
    span = max(reach) - min(reach) or 1.0
    for row, value, start in zip(rows, values, starts, strict=True):
        axes.text(
            max(start, start + value) + 0.02 * span, row, f"{value:+.2f}", va="center", fontsize=8
        )
    axes.set_xlim(min(reach) - 0.05 * span, max(reach) + 0.18 * span)
    axes.set_yticks(list(rows), labels, fontsize=8)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def heat(axes: Axes, picture: np.ndarray, activation: np.ndarray) -> None:
    """From the map's least to its largest value; a flat map says nothing of where and is left out.

    Args:
        axes: a panel of its own.
        picture: (h, w, 3), in [0, 1].
        activation: the map, (h', w').
    """
    height, width = picture.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(picture.mean(2), cmap="gray", interpolation="nearest", vmin=-0.4, vmax=1.2)
    if np.ptp(activation) > 0:
        axes.imshow(activation, cmap="inferno", alpha=0.6, extent=extent, interpolation="bilinear")

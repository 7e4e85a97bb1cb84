"""A unit's map as heat over its grey image."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes


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

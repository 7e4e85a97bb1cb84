"""Paired differences over seeds, with an interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import t


class Paired(NamedTuple):
    """Mean difference, and the half-width of its 95 % interval; None for one seed."""

    mean: float
    half_width: float | None
    n: int

    def text(self, scale: float = 1.0, digits: int = 2) -> str:
        """Such as "+1.14 +- 0.58"."""
        spread = "" if self.half_width is None else f" +- {scale * self.half_width:.{digits}f}"
        return f"{scale * self.mean:+.{digits}f}{spread}"


def paired(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Paired:
    r"""First minus second, seed by seed.

    .. math:: \bar d \pm t_{n-1, (1 + level) / 2} \; s_d / \sqrt n

    Args:
        first: one value a seed.
        second: of the same seeds, in the same order.
        level: in (0, 1).

    Raises:
        ValueError: the lengths differ, or are 0.

    >>> paired([3.0, 5.0, 4.0], [1.0, 3.0, 2.0])
    Paired(mean=2.0, half_width=0.0, n=3)
    """
    if len(first) != len(second) or not first:
        raise ValueError(
            f"first and second must hold the same seeds, got {len(first)} and {len(second)} values"
        )
    differences = [a - b for a, b in zip(first, second, strict=True)]
    n = len(differences)
    if n == 1:
        return Paired(differences[0], None, 1)
    error = statistics.stdev(differences) / math.sqrt(n)
    return Paired(statistics.mean(differences), float(t.ppf((1 + level) / 2, n - 1)) * error, n)

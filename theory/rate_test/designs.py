"""Sizes of the rate test: run lengths, and seeds of each.

Steps cost more than runs, since all runs share them: a quick design has shorter runs, but more of
them. Its power is measured in `power`.
"""

from typing import NamedTuple

import numpy as np

from theory.rate_test.configurations import Mode
from theory.reference.problems import Array


class Design(NamedTuple):
    """Four run lengths, from the shortest at a constant ratio, and the seeds of each.

    >>> Design(shortest=128, ratio=1.5, seeds=192).horizons.astype(int).tolist()
    [128, 192, 288, 432]
    """

    shortest: int
    ratio: float
    seeds: int

    @property
    def horizons(self) -> Array:
        """T, (4,)."""
        return np.round(self.shortest * self.ratio ** np.arange(4))


QUICK, FULL = Design(128, 1.5, 192), Design(512, 2, 64)
# Without noise the rate is in force as soon as the run has converged.
QUICK_FULL_BATCH, FULL_FULL_BATCH = Design(64, 2, 192), Design(128, 2, 256)
# Where every run has a layer of its own, runs do not share steps.
QUICK_SEPARATE, FULL_SEPARATE = Design(128, 2**0.5, 16), Design(128, 2, 16)


def design(quick: bool, mode: Mode | None = None) -> Design:
    """Of a mode of the optimizer, or of a control."""
    if mode and mode.separate:
        return QUICK_SEPARATE if quick else FULL_SEPARATE
    if mode and not mode.batch:
        return QUICK_FULL_BATCH if quick else FULL_FULL_BATCH
    return QUICK if quick else FULL

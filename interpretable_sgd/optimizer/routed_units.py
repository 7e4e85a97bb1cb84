"""What is read back from a routed layer."""

from typing import NamedTuple

from torch import Tensor


class RoutedUnits(NamedTuple):
    """The routing of one layer: O output units (`c`), M connections of each (`m`).

    Attributes:
        probabilities: pi_cm that the next step draws from (shared masks), or the running
            mean over samples (per-sample masks); in [0, 1], (O, M).
        selected: share of the steps, or samples, so far in which a connection was selected;
            in [0, 1], (O, M).
        support: |W_cm| >= threshold, boolean, (O, M).
        block_size: K in force at the next step.
    """

    probabilities: Tensor
    selected: Tensor
    support: Tensor
    block_size: float

"""The connections of a routed layer, as they are read back."""

from typing import NamedTuple

from torch import Tensor


class RoutedUnits(NamedTuple):
    """O output units (`c`), M connections of each (`m`).

    Attributes:
        support: |W_cm| >= threshold, boolean, (O, M).
        strength: Lipschitz constants of the gates, each as a share of its row's sum; 0 in a row that has
            no statistics yet, (O, M).
        settled: whether the support is fixed.
        block_size: K, connections that a row keeps.
    """

    support: Tensor
    strength: Tensor
    settled: bool
    block_size: int

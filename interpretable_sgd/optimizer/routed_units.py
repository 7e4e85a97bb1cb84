"""The connections of a routed layer, as they are read back."""

from typing import NamedTuple

from torch import Tensor


class RoutedUnits(NamedTuple):
    """O output units (`c`), M connections of each (`m`).

    Attributes:
        support: |W_cm| >= threshold, boolean, (O, M).
        strength: Lipschitz constants of the gates, each as a share of its row's sum; 0 in a row that has
            no statistics yet, (O, M).
        probabilities: pi_cm in [0, 1], (O, M): that the next shared mask is drawn with; means over samples
            under Algorithm 3; under the routed method 1, and 0 off a settled support.
        settled: whether the support is fixed.
        bias: |D|^2 / |grad_S F|^2 of running means, the part of the gradient that per-sample selection leaves
            out (Theorem C'); None while nothing is routed, and under other methods.
        block_size: K, connections that a row keeps.
    """

    support: Tensor
    strength: Tensor
    probabilities: Tensor
    settled: bool
    bias: float | None
    block_size: int

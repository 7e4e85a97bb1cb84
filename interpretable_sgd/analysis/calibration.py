"""Intervals of shares, and whether probabilities are what they say.

Index legend: `n` image, `b` bin.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 10
Z95 = 1.959963984540054  # of the normal distribution, two-sided 95 %


def wilson_interval(successes: float, total: float, z: float = Z95) -> tuple[float, float]:
    r"""Interval of a share that was seen `successes` times in `total`.

    .. math:: \frac{\hat p + z^2 / 2n \pm z \sqrt{\hat p (1 - \hat p) / n + z^2 / 4 n^2}}{1 + z^2 / n}

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927). It
    holds where few were seen, and at shares of 0 and 1, unlike the one of the normal approximation.

    Returns:
        Lower and upper end in [0, 1]; NaN without any.

    >>> low, high = wilson_interval(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    if not total:
        return math.nan, math.nan
    share = successes / total
    centre = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


@dataclass(frozen=True)
class Calibration:
    """Probabilities beside how often they came true, by bins of equal width.

    Attributes:
        count: images in each bin, (B,).
        confidence: mean probability, (B,); NaN in an empty bin.
        accuracy: share that came true, (B,); NaN in an empty bin.
    """

    count: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def expected_error(self) -> float:
        r"""Mean distance of the two over all images, ECE (Guo, Pleiss, Sun and Weinberger, ICML 2017).

        .. math:: \sum_b \frac{n_b}{N} |\text{accuracy}_b - \text{confidence}_b|
        """
        gaps = (self.accuracy - self.confidence).abs().nan_to_num(0)
        return float((gaps * self.count).sum() / self.count.sum())


def calibration(probability: Tensor, came_true: Tensor, bins: int = BINS) -> Calibration:
    """How often decisions of each probability are right.

    Args:
        probability: of what was decided, (n,), in [0, 1].
        came_true: whether it is so, (n,), bool.
        bins: of equal width, the upper end in the bin.

    >>> found = calibration(torch.tensor([0.9, 0.9, 0.95, 1.0]), torch.tensor([True, True, True, False]))
    >>> found.count.tolist()[-2:], round(found.expected_error, 4)
    ([2, 2], 0.2875)
    """
    probability, came_true = probability.double(), came_true.double()
    place = (probability * bins).ceil().long().clamp(1, bins) - 1
    count = torch.bincount(place, minlength=bins)
    nonzero = torch.where(count > 0, count.double(), torch.nan)
    sums = [torch.zeros(bins).double().index_add_(0, place, x) for x in (probability, came_true)]
    return Calibration(count, sums[0] / nonzero, sums[1] / nonzero)

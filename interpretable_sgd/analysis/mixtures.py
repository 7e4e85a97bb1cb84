"""Mixtures of two Gaussians, of every unit at once.

Index legend: `n` image, `m` unit, `g` one of two components.
"""

from statistics import NormalDist

import torch
from torch import Tensor
from torch.nn.functional import softplus

CHUNK = 2**16  # values worked on at once: they stay in cache, and easy units end early
FLOOR = 1e-6  # of a component's variance, by that of the unit
ROUNDS, GAIN = 200, 1e-4  # of expectation and maximisation; mean log-likelihood that ends them


def overlaps(units: Tensor) -> Tensor:
    r"""Overlap of the two Gaussians of a mixture fitted to each unit.

    .. math:: \int \min(N(x; \mu_1, \sigma_1^2), N(x; \mu_2, \sigma_2^2)) dx

    Inman and Bradley, The overlapping coefficient, Communications in Statistics 18 (1989). The fit
    starts from the two clusters of least squares, so that it draws nothing.

    Args:
        units: (n, M).

    Returns:
        In [0, 1], (M,), float64; 1 for a unit that never changes.
    """
    chunks = units.split(max(1, CHUNK // len(units)), dim=1)
    fits = [_fit(chunk.double().cpu()) for chunk in chunks]
    means, deviations = (torch.cat(parts, 1).T.tolist() for parts in zip(*fits, strict=True))
    pairs = (map(NormalDist, *fit) for fit in zip(means, deviations, strict=True))
    return torch.tensor([first.overlap(second) for first, second in pairs], dtype=torch.float64)


def _fit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Means and deviations of two components, (g, m) each, of values scaled to unit variance."""
    spread = x.std(0, correction=0)
    x = (x - x.mean(0)) / torch.where(spread > 0, spread, 1)
    upper = _clusters(x)
    last = torch.full(x.shape[1:], -torch.inf, dtype=x.dtype)
    for _ in range(ROUNDS):
        # maximisation: weights, means and variances of the components, weighted by their shares
        shares = torch.stack([1 - upper, upper])
        weights = shares.mean(1) + 1e-12
        means = (shares * x).mean(1) / weights
        squares = (x - means[:, None]) ** 2
        variances = (shares * squares).mean(1) / weights + FLOOR
        constants = weights.log() - variances.log() / 2
        low, high = constants[:, None] - squares / (2 * variances[:, None])
        # log(e^low + e^high) without overflow
        likelihood = (low + softplus(high - low)).mean(0)
        if (likelihood - last <= GAIN).all():
            break
        # expectation: the posterior of the upper component
        upper, last = (high - low).sigmoid(), likelihood
    return means, variances.sqrt()


def _clusters(x: Tensor) -> Tensor:
    """Which values are in the upper of two clusters, by Lloyd's algorithm from the extremes."""
    centres = torch.stack([x.amin(0), x.amax(0)])
    upper = x > centres.mean(0)
    for _ in range(50):
        count = upper.sum(0)
        high = torch.where(upper, x, 0).sum(0) / count.clamp(min=1)
        low = torch.where(upper, 0, x).sum(0) / (len(x) - count).clamp(min=1)
        moved = x > (high + low) / 2
        if torch.equal(moved, upper):
            break
        upper = moved
    return upper.to(x.dtype)

"""Sets of classes that hold the true one as often as promised: split-conformal prediction.

Index legend: `n` image, `c` class.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from interpretable_sgd.analysis.accumulator import scramble

COVERAGES = (0.9, 0.95)


def set_scores(
    probabilities: Tensor, noise: Tensor | None = None, *, penalty: float = 0.0, free: int = 1
) -> Tensor:
    r"""How far down the ranking each class stands: a set holds the classes of low scores.

    .. math:: s_{nc} = \sum_{j: p_{nj} > p_{nc}} p_{nj} + u_n \sum_{j: p_{nj} = p_{nc}} p_{nj}
        + \lambda (r_{nc} - f)_+

    Without a penalty these are adaptive prediction sets (APS: Romano, Sesia and Candes, NeurIPS 2020), with
    one their regularised form (RAPS: Angelopoulos, Bates, Malik and Jordan, ICLR 2021), whose sets are
    shorter where the tail of the ranking says little. Equal probabilities enter a set together, so the order
    of the classes does not matter.

    Args:
        probabilities: (n, C), of rows that sum to 1.
        noise: u, (n,), uniform in [0, 1], drawn whatever the image shows; None for 1, which leaves an image
            that the model is surest of with an empty set.
        penalty: lambda, at least 0, for each rank beyond the free ones.
        free: f, at least 0; a class's rank r counts the classes that are at least as likely, itself included.

    Returns:
        (n, C), float64.

    >>> set_scores(torch.tensor([[0.25, 0.5, 0.25]])).tolist()
    [[1.0, 0.5, 1.0]]
    >>> set_scores(torch.tensor([[0.25, 0.5, 0.25]]), torch.tensor([0.5]), penalty=0.1).tolist()
    [[0.95, 0.25, 0.95]]
    """
    p = probabilities.double()
    falling = p.sort(1, descending=True).values
    mass = torch.cat([torch.zeros_like(p[:, :1]), falling.cumsum(1)], 1)
    above = torch.searchsorted(-falling, -p)
    rank = torch.searchsorted(-falling, -p, right=True)
    before, through = mass.gather(1, above), mass.gather(1, rank)
    u = 1.0 if noise is None else noise.to(p)[:, None]
    return before + u * (through - before) + penalty * (rank - free).clamp(min=0).to(p)


def uniform(numbers: Tensor) -> Tensor:
    """A fixed number in [0, 1) for each image's number, as if drawn: its set is the same in every pass.

    >>> u = uniform(torch.arange(1000))
    >>> bool((u.mean() - 0.5).abs() < 0.03)
    True
    """
    return scramble(numbers).double() / 2**63


@dataclass(frozen=True)
class SetRule:
    """Which classes an image's set holds, so that the true one is among them as often as promised.

    Attributes:
        coverage: promised share of images whose set holds the true class, of images drawn as those that
            the rule was calibrated on, and not conditional on any of them.
        threshold: the largest score in a set.
        penalty: of `set_scores`.
        free: of `set_scores`.
        images: that it was calibrated on.
    """

    coverage: float
    threshold: float
    penalty: float
    free: int
    images: int

    @property
    def name(self) -> str:
        """APS, or RAPS with a penalty."""
        return "RAPS" if self.penalty else "APS"

    def sets(self, probabilities: Tensor, noise: Tensor | None = None) -> Tensor:
        """Which classes are in each image's set, (n, C), bool; arguments as for `set_scores`."""
        scores = set_scores(probabilities, noise, penalty=self.penalty, free=self.free)
        return scores <= self.threshold


def calibrated(
    probabilities: Tensor,
    labels: Tensor,
    coverage: float = 0.9,
    noise: Tensor | None = None,
    *,
    penalty: float = 0.0,
    free: int = 1,
) -> SetRule:
    r"""A rule from images that the model was not trained on.

    The threshold is the :math:`\lceil (n + 1) \text{coverage} \rceil`-th smallest score of a true class.
    If these images and a new one are exchangeable, the new one's rank among them is uniform, so its set
    holds its class with at least that probability, whatever the model; and with at most 1 / (n + 1) more
    where scores do not tie (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005).

    Args:
        probabilities: of the calibration images, (n, C).
        labels: their classes, (n,).
        coverage: to promise, in (0, 1).
        noise: as sets are to be made with; see `set_scores`.
        penalty: see `set_scores`.
        free: see `set_scores`.

    Raises:
        ValueError: an argument is out of range, or the images are too few for the coverage.

    >>> probabilities = torch.tensor([[0.75, 0.25]]).repeat(9, 1)
    >>> rule = calibrated(probabilities, torch.zeros(9, dtype=torch.long), 0.9)
    >>> rule.threshold, rule.sets(probabilities[:1]).tolist()
    (0.75, [[True, False]])
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must be between 0 and 1, got {coverage}")
    if penalty < 0 or free < 0:
        raise ValueError(f"penalty and free must be at least 0, got {penalty} and {free}")
    if labels.dim() != 1 or len(labels) != len(probabilities):
        raise ValueError(
            f"labels must be one class for each of {len(probabilities)} images, "
            f"got shape {tuple(labels.shape)}"
        )
    scores = set_scores(probabilities, noise, penalty=penalty, free=free)
    own = scores.gather(1, labels[:, None])[:, 0]
    # exact where (n + 1) coverage is an integer that a float misses by a rounding
    rank = math.ceil((len(own) + 1) * coverage - 1e-9)
    if rank > len(own):
        least = math.ceil(coverage / (1 - coverage) - 1e-9)
        raise ValueError(
            f"coverage {coverage} needs at least {least} calibration images, got {len(own)}"
        )
    return SetRule(coverage, float(own.sort().values[rank - 1]), penalty, free, len(own))

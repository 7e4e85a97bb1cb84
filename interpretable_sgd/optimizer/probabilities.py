"""Selection probabilities of coordinates from their Lipschitz constants.

Index legend: the last dimension runs over the coordinates of a block (`m`); leading dimensions
are independent blocks (rows `c`, and samples `i` where masks are per sample).
"""

import math

import torch
from torch import Tensor

STEEP, STEEPEST = 1e2, 1e10  # exponents beyond which powers need float64, and are top-K's


def waterfill(constants: Tensor, block_size: float, sparsity: float) -> Tensor:
    """Select `block_size` coordinates of every block on average, large constants first.

    pi_m = min(1, kappa G_m^gamma), gamma = 1 / (1 - s), with kappa such that the block sums to
    min(K, #{m: G_m > 0}). The cap makes s = 1 exact top-K, which the literal probabilities
    of Algorithm 3 never reach. Scale-free: G and c G give the same probabilities.

    Args:
        constants: G >= 0, shape (..., M).
        block_size: K > 0, may be fractional.
        sparsity: s <= 1; s = 0 is proportional to G while unsaturated, s -> -inf uniform. Within
            1e-10 of 1 it is 1: no constants that differ by more than 1e-8 share anything there.

    Returns:
        pi in [0, 1], shape (..., M); 0 exactly where G is 0.

    >>> waterfill(torch.tensor([3.0, 2.0, 2.0, 2.0, 1.0]), block_size=2, sparsity=1)
    tensor([1.0000, 0.3333, 0.3333, 0.3333, 0.0000])
    """
    positive = constants > 0
    gamma = 1 / (1 - sparsity) if sparsity < 1 else math.inf
    if gamma > STEEPEST:
        return _top(constants, block_size) * positive
    logs = (constants.double() if gamma > STEEP else constants).log()
    # No more than K are saturated, so no more need be ranked.
    ranked, places = logs.topk(min(logs.shape[-1], math.ceil(block_size) + 1), dim=-1)
    saturated = _count_saturated(ranked, logs.scatter(-1, places, -torch.inf), block_size, gamma)
    # Relative to the largest unsaturated constant: differences of logs keep full precision.
    level = ranked.gather(-1, saturated.clamp(max=ranked.shape[-1] - 1))
    free = positive & (logs <= level)
    powers = torch.where(free, gamma * (logs - level), -torch.inf).exp()
    total = powers.sum(-1, keepdim=True)
    shares = (block_size - saturated.to(powers)) * powers / torch.where(total > 0, total, 1)
    enough = positive.sum(-1, keepdim=True) <= block_size
    filled = torch.where(enough | (logs > level), positive.to(shares), shares.clamp(max=1))
    return filled.to(constants.dtype)


def _count_saturated(ranked: Tensor, rest: Tensor, block_size: float, gamma: float) -> Tensor:
    """Smallest r such that sharing K - r over all but the r largest needs no probability over 1."""

    def relative(logs: Tensor) -> Tensor:
        return gamma * (logs - ranked[..., :1]).nan_to_num(nan=-torch.inf, posinf=0.0)

    powers, below = relative(ranked), relative(rest).logsumexp(-1, keepdim=True)
    tails = torch.cat([below, powers.flip(-1)], -1).logcumsumexp(-1)[..., 1:].flip(-1)
    places = torch.arange(ranked.shape[-1], device=ranked.device, dtype=ranked.dtype)
    remaining = (block_size - places).clamp(min=0).log()
    # A difference of 1e-12 decides nothing: both sides of the test give the same probabilities.
    overfull = remaining + (powers - tails) > 1e-12
    return overfull.cumprod(-1).sum(-1, keepdim=True)


def _top(constants: Tensor, block_size: float) -> Tensor:
    """1 for the K largest; coordinates tied at the edge share what is left equally."""
    size = constants.shape[-1]
    if block_size >= size:
        return torch.ones_like(constants)
    edge = constants.topk(int(block_size) + 1, dim=-1).values[..., -1:]
    above, tied = (constants > edge).to(constants), (constants == edge).to(constants)
    left = block_size - above.sum(-1, keepdim=True)
    return above + tied * left / tied.sum(-1, keepdim=True)


def paper_probabilities(constants: Tensor, sparsity: float) -> Tensor:
    """Probabilities of Algorithm 3 as printed: (L_cm / L)^(1 / (1 - s)), L the sum over the layer.

    Their sum is exp((1 - gamma) H_gamma) <= 1, H the Renyi entropy of L_cm / L: at most one of
    all O * M coordinates is selected, and none as s -> 1.

    Args:
        constants: L >= 0, shape (..., O, M); the last two dimensions are one block.
        sparsity: s < 1.

    Returns:
        pi in [0, 1], shape (..., O, M); 0 in a layer of zeros.

    >>> paper_probabilities(torch.tensor([[1.0, 3.0]]), sparsity=0)
    tensor([[0.2500, 0.7500]])
    """
    total = constants.sum((-2, -1), keepdim=True)
    return (constants / torch.where(total > 0, total, 1)) ** (1 / (1 - sparsity))


def fill(probabilities: Tensor, constants: Tensor, block_size: float) -> Tensor:
    """Spend what is left of a block uniformly on the coordinates whose constants are 0.

    While a block is wider than its positive constants are many, nothing else would tell these
    coordinates apart; so each block sums to K, and none loses a coordinate before it must.

    >>> fill(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([2.0, 0.0, 0.0]), block_size=2)
    tensor([1.0000, 0.5000, 0.5000])
    """
    silent = constants <= 0
    left = (block_size - probabilities.sum(-1, keepdim=True)).clamp(min=0)
    share = left / silent.sum(-1, keepdim=True).clamp(min=1)
    return torch.where(silent, (probabilities + share).clamp(max=1), probabilities)


def explore(probabilities: Tensor, floor: float, block_size: float) -> Tensor:
    """Keep every coordinate in play: (1 - eps) pi + eps K / M, for blocks of M coordinates.

    The sum of a full block stays K and pi_min >= eps K / M, which Theorem A needs to speak of the
    unweighted gradient norm.

    >>> explore(torch.tensor([1.0, 0.0]), floor=0.1, block_size=1)
    tensor([0.9500, 0.0500])
    """
    size = probabilities.shape[-1]
    return (1 - floor) * probabilities + floor * min(1.0, block_size / size)

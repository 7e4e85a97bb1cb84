"""The block narrows: from the whole row at the start of training to `block_size` connections.

Units form before they are selected; a narrow block from the first step freezes an early choice.
"""

from torch import Tensor


def progress(step: int, horizon: int) -> float:
    """Position of a step on the way from the whole row (0) to the block size (1).

    >>> [progress(step, horizon=4) for step in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """
    return min(1.0, step / horizon) if horizon else 1.0


def narrowed(fan_in: int, block_size: float, progress: float) -> float:
    """K_t = M^(1 - p) K^p: geometric between the whole row and the block size.

    Args:
        fan_in: M, connections of an output unit.
        block_size: K.
        progress: p in [0, 1].

    >>> narrowed(64, 4, 0.5)
    16.0
    """
    return max(float(block_size), float(fan_in ** (1 - progress) * block_size**progress))


def soft_threshold(weight: Tensor, amount: Tensor) -> Tensor:
    """Move every weight towards 0 by an amount, and not beyond: the proximal step of a weighted L1.

    >>> import torch
    >>> soft_threshold(torch.tensor([1.0, -0.1]), torch.tensor([0.25, 0.25]))
    tensor([0.7500, -0.0000])
    """
    return weight.sign() * (weight.abs() - amount).clamp(min=0)

"""Batches as Algorithm 3 draws them: every sample joins by its own coin."""

from collections.abc import Iterator

import torch
from torch import distributed
from torch.utils.data import Sampler

from interpretable_sgd.optimizer.sampling import hash_key


class PoissonBatchSampler(Sampler[list[int]]):
    """Poisson sampling: sample i is in a batch with probability B / n, independently (Alg. 3, p_i).

    Batch sizes vary around B, and Algorithm 3 divides by B, not by the size drawn: use
    `criterion(output, target, reduction="sum") / batch_size` as the loss. Batches then are
    independent of the past and their mean gradient is that of the mean loss, so they meet the
    theorems' condition on batches, with the variance of `bounds.poisson_noise`. Leaving out empty
    batches divides the mean step by the chance of a batch that is not, 1 - (1 - B / n)^n.

    Every pass draws new batches, from the stream of (seed, epoch, rank): a pass counts the epoch
    on, and in torch.distributed every rank has coins of its own. After a restart, `set_epoch`
    says how many passes there have been.

    Args:
        size: n >= 1, number of samples in the data set.
        batch_size: B in (0, n], the mean size of a batch.
        steps: batches per epoch; default ceil(n / B).
        seed: of the coins.
        rank: of this process; default that of torch.distributed, or 0.
        keep_empty: yield a batch without samples, which Algorithm 3 counts as a step with u = 0;
            the default leaves it out, as `DataLoader`'s own collation cannot take it.

    Attributes:
        epoch: which pass the next one is, from 0.

    Raises:
        ValueError: an argument out of its range.

    >>> sampler = PoissonBatchSampler(1000, batch_size=100, seed=1)
    >>> len(sampler), list(sampler) == list(sampler)
    (10, False)
    """

    def __init__(
        self,
        size: int,
        batch_size: float,
        steps: int | None = None,
        *,
        seed: int = 0,
        rank: int | None = None,
        keep_empty: bool = False,
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        if not 0 < batch_size <= size:
            raise ValueError(f"batch_size must be in (0, size={size}], got {batch_size}")
        if steps is not None and steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        if rank is not None and rank < 0:
            raise ValueError(f"rank must be at least 0, got {rank}")
        self.size, self.batch_size = size, batch_size
        self.steps = -int(-size // batch_size) if steps is None else steps
        self.seed, self.rank, self.keep_empty = seed, rank, keep_empty
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose which pass the next one is; those after it count on from there."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches drawn in an epoch; those left out as empty count too."""
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        key = hash_key(self.seed, self.epoch, self._rank())
        # Counted when a pass begins: one that is broken off is not drawn again either.
        self.epoch += 1
        return self._batches(torch.Generator().manual_seed(key >> 1))

    def _rank(self) -> int:
        if self.rank is not None:
            return self.rank
        # Asked when a pass begins, as samplers are often built before the process group.
        joined = distributed.is_available() and distributed.is_initialized()
        return distributed.get_rank() if joined else 0

    def _batches(self, generator: torch.Generator) -> Iterator[list[int]]:
        for _ in range(self.steps):
            coins = torch.rand(self.size, generator=generator, dtype=torch.float64)
            batch = (coins < self.batch_size / self.size).nonzero().flatten().tolist()
            if batch or self.keep_empty:
                yield batch

"""Batches as Algorithm 3 draws them: every sample joins by its own coin."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from interpretable_sgd.optimizer.sampling import hash_key


class PoissonBatchSampler(Sampler[list[int]]):
    """Poisson sampling: sample i is in a batch with probability B / n, independently (Alg. 3, p_i).

    Batch sizes vary around B, and Algorithm 3 divides by B, not by the size drawn: use
    `criterion(output, target, reduction="sum") / batch_size` as the loss. Each epoch is a new
    stream of (seed, epoch): call `set_epoch` as with `DistributedSampler`.

    Args:
        size: n >= 1, number of samples in the data set.
        batch_size: B in (0, n], the mean size of a batch.
        steps: batches per epoch; default ceil(n / B).
        seed: of the coins.
        keep_empty: yield a batch without samples, which Algorithm 3 counts as a step with u = 0;
            the default leaves it out, as `DataLoader`'s own collation cannot take it.

    Raises:
        ValueError: an argument out of its range.

    >>> sampler = PoissonBatchSampler(1000, batch_size=100, seed=1)
    >>> len(sampler)
    10
    """

    def __init__(
        self,
        size: int,
        batch_size: float,
        steps: int | None = None,
        *,
        seed: int = 0,
        keep_empty: bool = False,
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        if not 0 < batch_size <= size:
            raise ValueError(f"batch_size must be in (0, size={size}], got {batch_size}")
        if steps is not None and steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self.size, self.batch_size = size, batch_size
        self.steps = -int(-size // batch_size) if steps is None else steps
        self.seed, self.keep_empty = seed, keep_empty
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the stream that the next iteration draws from."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches drawn in an epoch; those left out as empty count too."""
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(hash_key(self.seed, self.epoch) >> 1)
        for _ in range(self.steps):
            coins = torch.rand(self.size, generator=generator, dtype=torch.float64)
            batch = (coins < self.batch_size / self.size).nonzero().flatten().tolist()
            if batch or self.keep_empty:
                yield batch

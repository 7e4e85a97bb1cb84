"""The samples of each step, a function of (seed, epoch, step), so that there is no state to lose."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

Key = tuple[int, int]


class EpochSampler(Sampler[list[Key]]):
    """Batches of (epoch, number) without replacement; each epoch has an order of its own, drawn after the last one's.

    Args:
        samples: their number; what is left over after the last whole batch is dropped in that epoch.
        batch: samples in a step.
        epochs: passes.
        seed: of the orders.
        start: step to begin with.
        parts: a step's batch comes in so many equal parts.
        rank: whose share of each part this is.
        ranks: equal shares of a part.

    Raises:
        ValueError: fewer samples than a batch, or a batch that cannot be shared out.

    >>> [[number for _, number in batch] for batch in EpochSampler(5, 2, epochs=1, seed=0)]
    [[4, 0], [1, 3]]
    >>> list(EpochSampler(5, 2, epochs=2, seed=0))[2:] == list(EpochSampler(5, 2, epochs=2, seed=0, start=2))
    True
    >>> [[n for _, n in batch] for batch in EpochSampler(5, 2, epochs=1, seed=0, rank=1, ranks=2)]
    [[0], [3]]
    """

    def __init__(
        self,
        samples: int,
        batch: int,
        epochs: int,
        seed: int,
        start: int = 0,
        parts: int = 1,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if samples < batch:
            raise ValueError(f"images must be at least a batch of {batch}, got {samples}")
        if batch % parts:
            raise ValueError(f"batch must be a multiple of {parts} parts, got {batch}")
        if batch // parts % ranks:
            raise ValueError(
                f"batch must be a multiple of {parts} parts times {ranks} ranks, got {batch}"
            )
        self.samples, self.batch, self.epochs = samples, batch, epochs
        self.seed, self.start, self.parts = seed, start, parts
        self.rank, self.ranks = rank, ranks

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return self.samples // self.batch

    def __len__(self) -> int:
        return (self.epochs * self.steps_per_epoch - self.start) * self.parts

    def __iter__(self) -> Iterator[list[Key]]:
        first, skipped = divmod(self.start, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(self.seed)
        for epoch in range(self.epochs):
            order = torch.randperm(self.samples, generator=generator).tolist()
            if epoch < first:
                continue
            for step in range(skipped, self.steps_per_epoch):
                chosen = order[step * self.batch : (step + 1) * self.batch]
                size = self.batch // self.parts
                share = size // self.ranks
                for at in range(self.rank * share, self.batch, size):
                    yield [(epoch, number) for number in chosen[at : at + share]]
            skipped = 0

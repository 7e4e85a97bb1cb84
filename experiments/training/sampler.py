"""Which images each step sees: a function of (seed, epoch, step), so there is no state to lose."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from experiments.rng import derived

Key = tuple[int, int]


class Order(Sampler[list[Key]]):
    """Batches of (epoch, image) without replacement; each epoch has an order of its own.

    Args:
        images: their number; what is left over after the last whole batch is dropped in that epoch.
        batch: images in a step.
        epochs: passes.
        seed: of the orders.
        start: step to begin with.
        parts: a step's batch comes in so many equal parts.
        rank: whose share of each part this is.
        ranks: equal shares of a part.

    >>> [[image for _, image in batch] for batch in Order(5, 2, epochs=1, seed=0)]
    [[2, 1], [0, 3]]
    >>> list(Order(5, 2, epochs=2, seed=0))[2:] == list(Order(5, 2, epochs=2, seed=0, start=2))
    True
    >>> [[image for _, image in batch] for batch in Order(5, 2, epochs=1, seed=0, rank=1, ranks=2)]
    [[1], [3]]
    """

    def __init__(
        self,
        images: int,
        batch: int,
        epochs: int,
        seed: int,
        start: int = 0,
        parts: int = 1,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if images < batch:
            raise ValueError(f"images must be at least a batch of {batch}, got {images}")
        if batch % parts:
            raise ValueError(f"batch must be a multiple of {parts} parts, got {batch}")
        if batch // parts % ranks:
            raise ValueError(
                f"batch must be a multiple of {parts} parts times {ranks} ranks, got {batch}"
            )
        self.images, self.batch, self.epochs = images, batch, epochs
        self.seed, self.start, self.parts = seed, start, parts
        self.rank, self.ranks = rank, ranks

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return self.images // self.batch

    def __len__(self) -> int:
        return (self.epochs * self.steps_per_epoch - self.start) * self.parts

    def __iter__(self) -> Iterator[list[Key]]:
        first, skipped = divmod(self.start, self.steps_per_epoch)
        for epoch in range(first, self.epochs):
            generator = torch.Generator().manual_seed(derived(self.seed, epoch))
            order = torch.randperm(self.images, generator=generator).tolist()
            for step in range(skipped, self.steps_per_epoch):
                chosen = order[step * self.batch : (step + 1) * self.batch]
                size = self.batch // self.parts
                share = size // self.ranks
                for at in range(self.rank * share, self.batch, size):
                    yield [(epoch, image) for image in chosen[at : at + share]]
            skipped = 0

"""Top-1 and top-5 accuracy of a net whose images several ranks share out; every image counts once."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from experiments.training.distributed import ALONE, Ranks


class Hits(NamedTuple):
    """How often a net was right.

    Attributes:
        first: images whose label has the highest logit.
        five: images whose label is among the five highest, or among all of fewer classes.
        images: all of them.
    """

    first: int
    five: int
    images: int

    @property
    def top1(self) -> float:
        """Share of images whose label has the highest logit."""
        return self.first / self.images

    @property
    def top5(self) -> float:
        """Share of images whose label is among the five highest."""
        return self.five / self.images


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """The three numbers of `Hits`, (3,), of logits (n, c) and labels (n,).

    >>> hits(torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, 1.0]]), torch.tensor([2, 2])).tolist()
    [1, 2, 2]
    """
    highest = logits.topk(min(5, logits.shape[1]), dim=1).indices
    right = highest == labels[:, None]
    return torch.stack([right[:, 0].sum(), right.sum(), right.new_tensor(len(labels), dtype=int)])


@torch.no_grad()
def count(
    model: nn.Module,
    images: Dataset[Any],
    ranks: Ranks = ALONE,
    *,
    at_once: int = 250,
    workers: int = 0,
) -> Hits:
    """Read a net on a map-style data set of (image, label), in evaluation mode; its mode is restored.

    Ranks read every `ranks.count`-th image each, so that some may read one less than others: nothing
    is padded, and the net must be whole on each, as `Training.trained` is.

    Args:
        model: gives logits (n, c).
        images: to read, at least one.
        ranks: that share them; all of them call this.
        at_once: images in a forward pass.
        workers: processes that read images, of each rank.

    Raises:
        ValueError: there are no images.
    """
    number = len(images)  # type: ignore[arg-type]
    if number < 1:
        raise ValueError(f"images must be at least 1, got {number}")
    device, training = next(model.parameters()).device, model.training
    found = torch.zeros(3, dtype=torch.int64, device=device)
    mine = Subset(images, range(ranks.rank, number, ranks.count))
    model.eval()
    try:
        for batch, labels in DataLoader(mine, at_once, num_workers=workers) if len(mine) else ():
            found += hits(model(batch.to(device)), labels.to(device))
    finally:
        model.train(training)
    return Hits(*ranks.total(found).tolist())

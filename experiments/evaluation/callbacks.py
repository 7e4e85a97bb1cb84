"""What is looked at after each epoch: accuracy on held-out and on training images, sparsity, labels of units."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, Subset

from experiments.evaluation.judging import head_numbers, read
from experiments.evaluation.unit_labels import Labeller
from experiments.evaluation.watching import looks
from experiments.models.resnets import UNITS


class Watch:
    """Numbers of a net at the end of an epoch; test images are not among what it sees.

    Args:
        validation: held-out images.
        train: training images without augmentation.
        watched: how many of each.
        labeller: labels units at few epochs; None where no concepts are known.
        epochs: of the whole run.
        workers: processes that read images.
        epoch: epochs seen before.
    """

    def __init__(
        self,
        validation: Dataset[Any],
        train: Dataset[Any],
        watched: int,
        labeller: Labeller | None,
        epochs: int,
        workers: int = 0,
    ) -> None:
        self.validation, self.train = spread(validation, watched), spread(train, watched)
        self.labeller, self.workers = labeller, workers
        self.looks = looks(epochs)

    def __call__(self, model: nn.Module, epoch: int) -> dict[str, float]:
        """Look at it after this epoch, from 1."""
        found = {
            "validation_top1": read(model, self.validation, self.workers).top1,
            "train_top1": read(model, self.train, self.workers).top1,
            "sparsity": head_numbers(model)["sparsity"],
        }
        if self.labeller is not None and epoch in self.looks:
            found["mean_iou"] = self.labeller.label(model, UNITS).best.mean().item()
        return found


def spread(images: Dataset[Any], count: int) -> Subset[Any]:
    """So many images, always the same ones, drawn at random.

    Evenly spaced ones would see few classes where labels take turns.

    >>> list(spread(range(10), 4))
    [1, 4, 5, 7]
    """
    whole = len(images)  # type: ignore[arg-type]
    drawn = torch.randperm(whole, generator=torch.Generator().manual_seed(0))[:count]
    return Subset(images, drawn.sort().values.tolist())

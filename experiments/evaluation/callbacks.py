"""Numbers that are taken while a network trains: after each epoch, and after each step."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from experiments.datasets.dataset import Augmented, Labelled, LabelledData, collate, even_subset
from experiments.evaluation.metrics import head_metrics, read
from experiments.evaluation.unit_labels import UnitLabeller
from experiments.models.registry import units_of
from experiments.rng import derived
from interpretable_sgd import analysis, gradient_product

LOOKS = 5  # epochs at which units are compared with concepts


class EpochMetrics:
    """Accuracy on held-out and on training images, sparsity, labels of units; test images are not looked at.

    Args:
        data: its images; without validation images, that accuracy is left out.
        watched: how many of each are looked at; None for all validation images and no training images.
        labeller: labels units at few epochs; None where no concepts are known.
        epochs: of the whole run.
        workers: processes that read images.
        tested: also accuracy on test images, for curves that show it; nothing is chosen by it.
    """

    def __init__(
        self,
        data: LabelledData,
        watched: int | None,
        labeller: UnitLabeller | None,
        epochs: int,
        workers: int = 0,
        tested: bool = False,
    ) -> None:
        self.images: dict[str, Labelled] = {}
        if data.validation is not None:
            self.images["validation_accuracy"] = data.validation
        if watched is not None:
            self.images |= {k: even_subset(part, watched) for k, part in self.images.items()}
            self.images["train_accuracy"] = even_subset(data.plain, watched)
        if tested:
            self.images["test_accuracy"] = data.test
        self.labeller, self.workers = labeller, workers
        self.looks = looks(epochs)

    def __call__(self, model: nn.Module, epoch: int) -> dict[str, float]:
        """Look at it after this epoch, 0 before training."""
        numbers = {
            name: read(model, images, self.workers).accuracy()
            for name, images in self.images.items()
        }
        numbers["sparsity"] = head_metrics(model)["sparsity"]
        if self.labeller is not None and epoch in self.looks:
            numbers["mean_iou"] = self.labeller.label(model, units_of(model)).best.mean().item()
        return numbers


def looks(epochs: int) -> set[int]:
    """Few epochs, dense where most happens: 0, then a geometric series to the last.

    >>> sorted(looks(8)), sorted(looks(1))
    ([0, 1, 2, 4, 8], [0, 1])
    """
    return {0} | {round(epochs ** (i / (LOOKS - 2))) for i in range(LOOKS - 1)}


@dataclass
class StepMetrics:
    """Loss and emptiness of the head after each step, and the gradient's squared norm at few.

    Attributes:
        samples: training samples that gradients are measured on.
        batch: samples in a step.
        steps: of the whole run.
        seed: of the samples that are measured on.
        share: of the steps' work that measuring gradients may cost, in [0, 1).
    """

    samples: Augmented
    batch: int
    steps: int
    seed: int
    share: float = 0.04

    def __post_init__(self) -> None:
        if len(self.samples) < 2 * self.batch:
            raise ValueError(
                f"images must be at least 2 batches of {self.batch}, got {len(self.samples)}"
            )
        self._measured = measuring_steps(self.steps, self.share)

    def __call__(self, model: nn.Module, step: int, loss: Tensor) -> dict[str, float]:
        """Numbers after a step, from 1."""
        weight = analysis.find_head(model).weight.detach()
        numbers = {"loss": loss.item(), "sparsity": analysis.sparsity(weight)}
        if step in self._measured:
            numbers["gradient"] = self._gradient(model, step)
        return numbers

    def _gradient(self, model: nn.Module, step: int) -> float:
        # a function of (seed, step), so that a resumed run measures what the uninterrupted one does
        generator = torch.Generator().manual_seed(derived(self.seed, step))
        drawn = torch.randperm(len(self.samples), generator=generator)[: 2 * self.batch].tolist()
        device = next(model.parameters()).device
        halves = [
            tuple(t.to(device) for t in collate(self.samples.__getitems__([(0, n) for n in half])))
            for half in (drawn[: self.batch], drawn[self.batch :])
        ]

        def loss(half: tuple[Tensor, ...]) -> object:
            # batch norm uses the statistics of each batch, as a training step does
            return lambda net: nn.functional.cross_entropy(net.train()(half[0]), half[1])

        return gradient_product(model, *map(loss, halves))  # type: ignore[arg-type]


def measuring_steps(steps: int, share: float) -> set[int]:
    """Log-spaced steps from the first to the last, so few that measuring costs `share` of the run.

    Each takes two batches forward and backward.

    >>> sorted(measuring_steps(200, 0.04))
    [1, 6, 34, 200]
    """
    points = min(int(share * steps / 2), 40)
    if points < 2:
        return {steps} if share > 0 else set()
    return {round(steps ** (i / (points - 1))) for i in range(points)}

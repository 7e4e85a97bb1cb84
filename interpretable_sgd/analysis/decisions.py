"""What a classifier decided on a whole data set, and the units that decided it: one pass.

Index legend: `n` image, `m` unit (input of the head), `c` class.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.heads import Head


@dataclass(frozen=True)
class Decisions:
    """Every decision on a data set and its largest contributions; all tensors are on the CPU.

    Classes and units are counted from 0. Where an image has two entries, the first is for the
    predicted class and the second for the runner-up. N images, C classes, M units.

    Attributes:
        head: name of the head in the model.
        labels: true classes, (N,), int64.
        predicted: classes of the largest logit, (N,), int64.
        runner_up: classes of the second largest, (N,), int64.
        logits: their logits, (N, 2).
        biases: their biases, (N, 2): a logit is its bias and its contributions.
        units: units of the largest |contribution|, largest first, (N, 2, keep), int64; -1 in a
            slot that stayed empty.
        contributions: signed, (N, 2, keep); 0 in an empty slot.
        residuals: by denominator ("faithful", "signed", "absolute"), 1 minus the k largest shares of
            the predicted class at [:, k - 1], (N, keep); NaN where there are no shares.
        reach: by level (0.95, 0.98), how many units of the predicted class reach it, by their
            faithful shares, (N,); inf where the bias keeps all units from it, NaN without shares.
        counts: images of each class, by label, (C,), int64.
        mean_parts: mean contributions to class c over the images labelled c, (C, M).
        class_means: mean units over the images labelled c, (C, M).
        mean_units: over all images, (M,).
        activity: share of the images where the unit is above 0, (M,).
        mass: mean share of the unit in sum |contribution| of the predicted class, (M,).
        sample: which images' units are kept, a uniform draw, ascending, (S,), int64.
        sample_units: their units, (S, M).
        weight: of the head, (C, M).
        bias: of the head, (C,).
    """

    head: str
    labels: Tensor
    predicted: Tensor
    runner_up: Tensor
    logits: Tensor
    biases: Tensor
    units: Tensor
    contributions: Tensor
    residuals: dict[str, Tensor]
    reach: dict[float, Tensor]
    counts: Tensor
    mean_parts: Tensor
    class_means: Tensor
    mean_units: Tensor
    activity: Tensor
    mass: Tensor
    sample: Tensor
    sample_units: Tensor
    weight: Tensor
    bias: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> Tensor:
        """Whether the predicted class is the label, (N,), bool."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """Share of images whose predicted class is the label."""
        return self.correct.double().mean().item()


def decide(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    head: Head | nn.Module | str | None = None,
    *,
    device: torch.device | str | None = None,
    keep: int = 10,
    report: Callable[[int], None] = lambda images: None,
    checkpoint: Path | None = None,
) -> Decisions:
    """Decisions of a model on a data set, in one pass of bounded memory."""
    raise NotImplementedError

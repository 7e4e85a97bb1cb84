"""What a classifier decided on a whole data set, and the units that decided it: one pass.

Index legend: `n` image, `m` unit (input of the head), `c` class.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis import checkpoints
from interpretable_sgd.analysis.accumulator import Ledger
from interpretable_sgd.analysis.forward import batches, plain
from interpretable_sgd.analysis.head_search import find_head
from interpretable_sgd.analysis.heads import Head

SECONDS = 60  # between two writes of a checkpoint


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
        dependence: share of the largest |contribution| in sum |contribution| of the predicted class,
            (N,); NaN without any, see `readability.dependence`.
        counts: images of each class, by label, (C,), int64.
        mean_parts: mean contributions to class c over the images labelled c, (C, M); NaN without any.
        class_means: mean units over the images labelled c, (C, M); NaN without any.
        mean_units: over all images, (M,).
        minimum: the smallest value of each unit, (M,).
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
    dependence: Tensor
    counts: Tensor
    mean_parts: Tensor
    class_means: Tensor
    mean_units: Tensor
    minimum: Tensor
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
    loader: Iterable[Any],
    head: Head | nn.Module | str | None = None,
    *,
    device: torch.device | str | None = None,
    keep: int = 10,
    sample: int = 2000,
    report: Callable[[int], None] = lambda images: None,
    checkpoint: Path | None = None,
) -> Decisions:
    r"""Decisions of a classifier on a data set, in one pass of bounded memory.

    .. math:: z_{nc} = b_{nc} + \sum_m P_{ncm}

    Each decision is taken apart into what its units and its bias add; that the terms do add up to
    the logit, and that this is what the model returns, is checked on every image. Memory grows with
    images * keep + classes * units, and holds `sample` * units besides.

    Args:
        model: a classifier; evaluated without gradients, and left as it was.
        loader: gives (images, labels) in an order of its own; labels in 0 .. C - 1.
        head: the layer that makes the logits, or its name; None to find it, see `find_head`.
        device: to run on; the model is moved there and back. None for where it is.
        keep: contributions kept of each decision, at least 1, cut to M.
        sample: images whose units are kept whole, for what needs distributions; the draw depends on
            the number of images alone. At least 0.
        report: told after each batch how many images are done.
        checkpoint: file to go on from, if the pass was cut off: images that it has seen are not run
            again. Written every minute and at the end; the loader must keep its order.

    Raises:
        TypeError: the head is of another kind; the loader gives something else than batches.
        ValueError: keep or sample are out of range; labels are not classes; the head's logits are
            not finite, not what the model returns, or not the sum of their terms; the checkpoint is
            of another model or data set.
        RuntimeError: the head does not run.

    >>> model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    >>> decisions = decide(model, [(torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]))], keep=6)
    >>> sums = decisions.contributions.sum(2) + decisions.biases
    >>> torch.allclose(sums, decisions.logits, atol=1e-6)
    True
    """
    for name, value, least in (("keep", keep, 1), ("sample", sample, 0)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    found = find_head(plain(model), head)
    if len(found.weight) < 2:
        raise ValueError(f"head {found.name!r} must have at least 2 outputs, got 1")
    ledger = Ledger(found, keep, sample)
    owner: dict[str, Any] = {}
    if checkpoint is not None:
        owner = {
            "model": checkpoints.fingerprint(model),
            "head": found.name,
            "keep": keep,
            "sample": sample,
        }
    state = checkpoints.load(checkpoint, owner)
    if state is not None:
        ledger.load_state_dict(state)
    _run(model, loader, ledger, found, device, report, checkpoint, owner)
    weight, bias = found.weight.float().cpu(), found.bias.float().cpu()
    return Decisions(head=found.name, weight=weight.clone(), bias=bias.clone(), **ledger.fields())


def _run(
    model: nn.Module,
    loader: Iterable[Any],
    ledger: Ledger,
    head: Head,
    device: torch.device | str | None,
    report: Callable[[int], None],
    checkpoint: Path | None,
    owner: dict[str, Any],
) -> None:
    known, done = ledger.images, 0
    written = time.monotonic()

    def write() -> None:
        if checkpoint is not None and ledger.is_whole and ledger.images > known:
            checkpoints.save({**owner, **ledger.state_dict()}, checkpoint)

    try:
        with closing(batches(model, loader, head, device=device, skip=known)) as stream:
            for batch in stream:
                count = len(batch.labels)
                if done < known:
                    ledger.verify(batch.labels, done)
                elif count:
                    ledger.add(batch)
                done += count
                report(done)
                if time.monotonic() - written > SECONDS:
                    write()
                    written = time.monotonic()
        if done < known:
            raise ValueError(
                f"checkpoint {checkpoint} is of {known} images, the loader gave {done}"
            )
    finally:
        write()

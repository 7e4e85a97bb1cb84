"""The decisions of a classifier on a whole data set, and the units that decided: one pass.

Index legend: `n` image, `m` unit (input of the head), `c` class.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis import checkpoints
from interpretable_sgd.analysis.accumulator import DecisionAccumulator
from interpretable_sgd.analysis.batches import first_batch, on, rows, split_batch
from interpretable_sgd.analysis.checkpoints import StaleCheckpointError
from interpretable_sgd.analysis.forward import batches, placed, plain, reading
from interpretable_sgd.analysis.head_search import find_head
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.provenance import fingerprint, versions

SECONDS = 60  # between two writes of a checkpoint
EXAMPLES = 2  # images that the head is found by; some models squeeze a batch of one


@dataclass(frozen=True)
class Decisions:
    """Every decision on a data set and its largest contributions; all tensors are on the CPU.

    Classes and units are counted from 0. Where an image has two entries, the first is for the
    predicted class and the second for the runner-up. N images, C classes, M units.

    A head of one output decides between class 0 and class 1, of logits -z and z. Where labels are
    sets of classes, each class is decided by the sign of its logit; "predicted" is then the class
    of the largest logit, and the contributions kept are to that one.

    Attributes:
        head: name of the head in the model.
        labels: true classes, (N,), int64; or which classes an image has, (N, C), bool.
        predicted: classes of the largest logit, (N,), int64.
        runner_up: classes of the second largest, (N,), int64.
        logits: their logits, (N, 2).
        probabilities: theirs, (N, 2): softmax, or sigmoid where classes do not exclude one another.
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
        outcomes: images by class, by whether they have it, and by whether they are given it,
            (C, 2, 2), int64: `outcomes[c, 1, 0]` are those of class c that were missed.
        mean_parts: mean contributions to class c over the images labelled c, (C, M); NaN without any.
        class_means: mean units over the images labelled c, (C, M); NaN without any.
        mean_units: over all images, (M,).
        minimum: the smallest value of each unit, (M,).
        activity: share of the images where the unit is above 0, (M,).
        mass: mean share of the unit in sum |contribution| of the predicted class, (M,).
        sample: which images' units are kept, a uniform draw, ascending, (S,), int64.
        sample_units: their units, (S, M).
        hashes: of the contents and labels of each image, (N,), int64.
        weight: of the head, (C, M).
        bias: of the head, (C,).
    """

    head: str
    labels: Tensor
    predicted: Tensor
    runner_up: Tensor
    logits: Tensor
    probabilities: Tensor
    biases: Tensor
    units: Tensor
    contributions: Tensor
    residuals: dict[str, Tensor]
    reach: dict[float, Tensor]
    dependence: Tensor
    counts: Tensor
    outcomes: Tensor
    mean_parts: Tensor
    class_means: Tensor
    mean_units: Tensor
    minimum: Tensor
    activity: Tensor
    mass: Tensor
    sample: Tensor
    sample_units: Tensor
    hashes: Tensor
    weight: Tensor
    bias: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        classes, units = self.weight.shape
        return (
            f"Decisions({len(self)} images, {classes} classes, {units} units, head {self.head!r}, "
            f"accuracy {self.accuracy:.3f})"
        )

    @property
    def is_multilabel(self) -> bool:
        """Whether labels are sets of classes."""
        return self.labels.dim() == 2

    def of_class(self, c: int) -> Tensor:
        """Which images have the label c, (N,), bool."""
        return self.labels[:, c] if self.is_multilabel else self.labels == c

    @property
    def correct(self) -> Tensor:
        """Whether the decision on the predicted class is right, (N,), bool."""
        if not self.is_multilabel:
            return self.predicted == self.labels
        has = self.labels.gather(1, self.predicted[:, None])[:, 0]
        return has == (self.logits[:, 0] > 0)

    @property
    def abstains(self) -> Tensor:
        """Whether no unit that the predicted class reads is on, (N,), bool: the decision is the bias's."""
        return self.units[:, 0, 0] < 0

    @property
    def accuracy(self) -> float:
        """Share of images whose predicted class is the label; of sets, of all decisions that are right."""
        if self.is_multilabel:
            right = self.outcomes[:, 0, 0].sum() + self.outcomes[:, 1, 1].sum()
            return float(right) / self.labels.numel()
        return self.correct.double().mean().item()

    @property
    def chance_accuracy(self) -> float:
        """Accuracy of the best answer that does not look at the image: the most frequent label."""
        shares = self.counts.double() / len(self)
        return float(
            torch.maximum(shares, 1 - shares).mean() if self.is_multilabel else shares.max()
        )


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
        loader: gives inputs and labels in an order of its own: pairs, or mappings with the labels
            under "labels". Inputs are a tensor, or a tuple or mapping of them, which the model gets
            as arguments. Labels are classes, 0 .. C - 1; 0 or 1 for a head of one output; or 0 and 1
            for each class, (n, C).
        head: the layer that makes the logits, or its name; None to find it, see `find_head`.
        device: to run on; the model is moved there and back. None for where it is.
        keep: contributions kept of each decision, at least 1, cut to M.
        sample: images whose units are kept whole, for what needs distributions; the draw depends on
            the number of images alone. At least 0.
        report: told after each batch how many images are done.
        checkpoint: file to go on from, if the pass was cut off: images that it has seen are not run
            again, but their contents are compared with those it has seen. Written every minute and
            at the end; the loader must keep its order. One of other data is set aside, with a
            warning, and the pass starts anew.

    Raises:
        TypeError: the head is of another kind; the loader gives something else than batches.
        ValueError: keep or sample are out of range; labels are not classes; the head's logits are
            not finite, not what the model returns, or not the sum of their terms; the checkpoint is
            of another model or setting.
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
    inner = plain(model)
    first, stream = first_batch(loader)
    examples = rows(split_batch(first)[0], slice(0, EXAMPLES))
    with placed(inner, device) as place:
        found = find_head(inner, head, on(examples, place))
    accumulator = DecisionAccumulator(found, keep, sample)
    owner: dict[str, Any] = {}
    if checkpoint is not None:
        owner = {
            "model": fingerprint(inner),
            "head": found.name,
            "keep": keep,
            "sample": sample,
            "version": versions()["interpretable-sgd"],
        }
    state = checkpoints.load(checkpoint, owner)
    progress = _Progress(checkpoint, owner, report)
    try:
        if state is not None:
            accumulator.load_state_dict(state)
            with placed(inner, device) as place, reading(inner, found) as read:
                known = rows(examples, slice(0, accumulator.images))
                accumulator.verify_logits(read.run(on(known, place))[1])
        _run(inner, stream, accumulator, found, device, progress)
    except StaleCheckpointError as error:
        if checkpoint is None or isinstance(loader, Iterator):
            raise
        checkpoints.set_aside(checkpoint, error)
        accumulator = DecisionAccumulator(found, keep, sample)
        _run(inner, loader, accumulator, found, device, progress)
    weight, bias = found.weight.float().cpu(), found.bias.float().cpu()
    return Decisions(
        head=found.name, weight=weight.clone(), bias=bias.clone(), **accumulator.fields()
    )


class _Progress(NamedTuple):
    """Where a pass is kept and told."""

    checkpoint: Path | None
    owner: dict[str, Any]
    report: Callable[[int], None]


def _run(
    model: nn.Module,
    loader: Iterable[Any],
    accumulator: DecisionAccumulator,
    head: Head,
    device: torch.device | str | None,
    progress: _Progress,
) -> None:
    known, done = accumulator.images, 0
    written = time.monotonic()

    def write() -> None:
        if progress.checkpoint is not None and accumulator.is_whole and accumulator.images > known:
            checkpoints.save({**progress.owner, **accumulator.state_dict()}, progress.checkpoint)

    try:
        with closing(batches(model, loader, head, device=device, skip=known)) as stream:
            for batch in stream:
                count = len(batch.labels)
                if done < known:
                    accumulator.verify(batch.labels, batch.hashes, done)
                elif count:
                    accumulator.add(batch)
                done += count
                progress.report(done)
                if time.monotonic() - written > SECONDS:
                    write()
                    written = time.monotonic()
        if done < known:
            raise StaleCheckpointError(
                f"checkpoint {progress.checkpoint} is of {known} images, the loader gave {done}"
            )
    finally:
        write()

"""Whether prediction sets of a classifier keep their promise: rules from some images, tried on others.

Index legend: `n` image, `c` class, `r` rule.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.conformal import COVERAGES, SetRule, calibrated, uniform
from interpretable_sgd.analysis.forward import batches
from interpretable_sgd.analysis.heads import Head

PENALTIES = (0.0, 0.1)  # of APS and RAPS


def calibrate(
    model: nn.Module,
    loader: Iterable[Any],
    head: Head,
    *,
    seen: Tensor | None = None,
    device: torch.device | str | None = None,
    report: Callable[[int], None] = lambda images: None,
) -> tuple[SetRule, ...]:
    """Rules of APS and RAPS at 90 and 95 %, from one pass over images held out for them.

    Args:
        model: a classifier.
        loader: images that it was not trained on, with classes.
        head: makes the logits.
        seen: hashes of images that are left out where they are among them, as those that are studied.
        device: to run on; the model is moved there and back.
        report: told after each batch how many images are done.

    Raises:
        ValueError: labels are sets; there are too few images, or none that is not studied.
    """
    probabilities, labels, noise = _read(model, loader, head, device, report, seen)
    return tuple(
        calibrated(probabilities, labels, coverage, noise, penalty=penalty)
        for penalty in PENALTIES
        for coverage in COVERAGES
    )


def _read(
    model: nn.Module,
    loader: Iterable[Any],
    head: Head,
    device: torch.device | str | None,
    report: Callable[[int], None],
    seen: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities, labels and noise of all images."""
    found, done = [], 0
    with closing(batches(model, loader, head, device=device)) as stream:
        for labels, hashes, _, logits in stream:
            if labels.dim() == 2:
                raise ValueError("calibration needs one class an image, its labels are sets")
            new = (
                torch.ones_like(hashes, dtype=torch.bool)
                if seen is None
                else ~torch.isin(hashes, seen)
            )
            rows = head.probabilities(logits).cpu(), labels.cpu(), uniform(hashes)
            found.append([row[new] for row in rows])
            done += len(labels)
            report(done)
    if not sum(len(labels) for _, labels, _ in found):
        raise ValueError(
            f"calibration must give images that are not studied, of {done} it gave none is"
        )
    probabilities, labels, noise = map(torch.cat, zip(*found, strict=True))
    return probabilities, labels, noise


@dataclass(frozen=True)
class SetTrial:
    """What sets hold on images that had no part in making the rules.

    Attributes:
        rules: that made them.
        sizes: of the sets, (R, N).
        held: whether the true class is in, (R, N), bool.
    """

    rules: tuple[SetRule, ...]
    sizes: Tensor
    held: Tensor


def try_sets(
    model: nn.Module,
    loader: Iterable[Any],
    rules: Sequence[SetRule],
    head: Head,
    *,
    device: torch.device | str | None = None,
    report: Callable[[int], None] = lambda images: None,
) -> SetTrial:
    """Sets of a data set, in one pass; arguments as for `calibrate`."""
    sizes, held, done = [], [], 0
    with closing(batches(model, loader, head, device=device)) as stream:
        for labels, hashes, _, logits in stream:
            probabilities, noise = head.probabilities(logits).cpu(), uniform(hashes)
            sets = torch.stack([rule.sets(probabilities, noise) for rule in rules])
            sizes.append(sets.sum(2))
            held.append(sets[:, torch.arange(len(labels)), labels.cpu()])
            done += len(labels)
            report(done)
    return SetTrial(tuple(rules), torch.cat(sizes, 1), torch.cat(held, 1))

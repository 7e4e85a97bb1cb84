"""Scores without some of their units, and whether contributions foretell the loss.

Index legend: `n` image, `m` unit, `c` class, `j` one of the counts.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.accumulator import decided
from interpretable_sgd.analysis.batches import class_pairs, first_batch, on, rows, split_batch
from interpretable_sgd.analysis.contributions import top_units
from interpretable_sgd.analysis.forward import batches, placed, plain
from interpretable_sgd.analysis.head_search import find_head
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.interpretability_metrics import pruned

COUNTS = (0, 1, 2, 3, 5, 10, 20, 50)


@dataclass(frozen=True)
class Curve:
    """Scores at each of some counts of units or weights.

    Attributes:
        accuracy: over all images, (J,); of labels that are sets, over all their decisions.
        logit: mean logit of the class that the whole network predicts, (J,).
        class_accuracy: over the images labelled c, (J, C); NaN without any. Of labels that are sets,
            the share of them that are given the class.
        class_logit: the same of the logit, (J, C).
    """

    accuracy: Tensor
    logit: Tensor
    class_accuracy: Tensor
    class_logit: Tensor


@dataclass(frozen=True)
class Ablation:
    """What is left of decisions without some of their units.

    Attributes:
        counts: of units, or weights per class.
        whole: of the network as it is, J = 1.
        keep: with the units of the largest contributions to the predicted class alone.
        remove: without them.
        prune: with so many weights of the head per class, on average: the largest |W_cm|.
        agreement: rank correlation of contributions with what the logit loses when that unit alone
            is taken away, over the largest contributions of each image, (N,); NaN where all are
            equal. 1 for a dense head; a routed head puts another unit in its place.
        gap: the largest difference of the two, in shares of sum |contribution|, (N,).
    """

    counts: tuple[int, ...]
    whole: Curve
    keep: Curve
    remove: Curve
    prune: Curve
    agreement: Tensor
    gap: Tensor


def ablate(
    model: nn.Module,
    loader: Iterable[Any],
    head: Head | nn.Module | str | None = None,
    *,
    counts: Sequence[int] | None = None,
    compared: int = 10,
    device: torch.device | str | None = None,
    report: Callable[[int], None] = lambda images: None,
) -> Ablation:
    """Keep, remove and prune units, in one pass of memory independent of the images.

    A unit is taken away by setting what the head reads of it to 0, at every position; the head
    then makes all logits anew. Units go by their signed contribution to the predicted class,
    largest first, as `residuals` counts them: for a dense head the kept logit is 1 - residual of
    the whole one, up to the bias.

    Args:
        model: a classifier; evaluated without gradients, and left as it was.
        loader: gives (images, labels).
        head: as for `find_head`.
        counts: of units and of weights per class, in 0 .. M; None for 0, 1, 2, 3, 5, .. up to M.
        compared: contributions of each image compared with ablation, at least 2, cut to M.
        device: to run on; the model is moved there and back.
        report: told after each batch how many images are done.

    Raises:
        ValueError: counts or compared are out of range, or there are no images; and all that
            `decide` raises.

    >>> model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    >>> ablation = ablate(model, [(torch.rand(8, 4), torch.arange(8) % 3)], counts=[0, 6])
    >>> ablation.keep.accuracy[1] == ablation.whole.accuracy[0]
    tensor(True)
    """
    inner = plain(model)
    first, loader = first_batch(loader)
    with placed(inner, device) as place:
        found = find_head(inner, head, on(rows(split_batch(first)[0], slice(0, 2)), place))
    width = found.weight.shape[1]
    if counts is None:
        counts = [count for count in COUNTS if count <= width]
    wrong = [count for count in counts if not 0 <= count <= width]
    if wrong:
        raise ValueError(f"counts must be in 0 .. {width}, the number of units, got {wrong[0]}")
    if compared < 2:
        raise ValueError(f"compared must be at least 2, got {compared}")
    weights = [pruned(found.weight, count) for count in counts]
    classes, sizes = len(found.weight), {"whole": 1}
    sums = {
        name: _Accumulator(sizes.get(name, len(counts)), classes)
        for name in ("whole", "keep", "remove", "prune")
    }
    agreements, gaps, done = [], [], 0
    with closing(batches(inner, loader, found, device=device)) as stream:
        for labels, _, units, logits in stream:
            if not len(labels):
                continue
            predicted = logits.argmax(1)
            parts = found.parts(units, predicted)
            # the second sort turns positions into ranks
            rank = parts.argsort(1, descending=True).argsort(1)
            sums["whole"].add(0, logits, predicted, labels)
            for j, count in enumerate(counts):
                kept = _spread(rank < count, units)
                weight = weights[j].to(units.device)
                for name, remade in (
                    ("keep", found.logits(units * kept)),
                    ("remove", found.logits(units * ~kept)),
                    ("prune", found.logits(units, weight)),
                ):
                    sums[name].add(j, remade, predicted, labels)
            agreement, gap = _compare(found, units, predicted, compared)
            agreements.append(agreement.cpu())
            gaps.append(gap.cpu())
            done += len(labels)
            report(done)
    if not done:
        raise ValueError("loader must give at least one image, got none")
    curves = {name: scores.curve() for name, scores in sums.items()}
    return Ablation(tuple(counts), agreement=torch.cat(agreements), gap=torch.cat(gaps), **curves)


def losses(head: Head, units: Tensor, classes: Tensor, chosen: Tensor) -> Tensor:
    """What the logit of one class per image loses when one unit is taken away, for some units.

    Args:
        head: makes the logits.
        units: as `Head.read` returns them, (n, M) or (n, M, h, w).
        classes: one per image, (n,).
        chosen: units of each image, -1 for none, (n, k).

    Returns:
        (n, k); 0 for none.
    """
    rows = torch.arange(len(units), device=units.device)
    whole = _score(head, units, classes)
    lost = []
    for slot in chosen.T:
        # at every position, as a unit of a convolution speaks at each
        without = units.clone()
        without[rows, slot.clamp(min=0)] = 0
        loss = whole - _score(head, without, classes)
        lost.append(loss.masked_fill(slot < 0, 0))
    return torch.stack(lost, 1)


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of each row, (n, k), (n, k) -> (n,); equal values share a rank.

    NaN where all values of a row are equal. Memory of n * k * k: for few columns.

    >>> rank_correlation(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.1, 0.2, 0.3]]))
    tensor([1.], dtype=torch.float64)
    """
    first, second = _ranks(first), _ranks(second)
    product = (first * second).sum(1)
    size = ((first**2).sum(1) * (second**2).sum(1)).sqrt()
    return product / torch.where(size > 0, size, torch.nan)


def _ranks(values: Tensor) -> Tensor:
    """Ranks of each row less their mean, (n, k)."""
    # twice a rank less its mean is how many values are below less how many are above
    differences = values[:, :, None] - values[:, None, :]
    return differences.sign().double().sum(2) / 2


def _compare(head: Head, units: Tensor, classes: Tensor, compared: int) -> tuple[Tensor, Tensor]:
    """Rank correlation of contributions and losses, and their largest difference, (n,) each."""
    # In float64: a loss is the difference of two logits that are nearly equal.
    exact = units.double()
    parts = head.parts(exact, classes)
    chosen = top_units(parts, compared)
    expected = parts.gather(1, chosen.clamp(min=0)).masked_fill(chosen < 0, 0)
    lost = losses(head, exact, classes, chosen)
    total = parts.abs().sum(1)
    gap = (expected - lost).abs().amax(1) / torch.where(total > 0, total, 1)
    # Differences that are rounding alone must not order what is equal.
    step = 1e-12 * total.clamp(min=1e-300)[:, None]
    return rank_correlation((expected / step).round(), (lost / step).round()), gap


def _score(head: Head, units: Tensor, classes: Tensor) -> Tensor:
    parts, biases = head.terms(units, classes)
    return parts.sum(1) + biases


def _spread(kept: Tensor, units: Tensor) -> Tensor:
    """A choice of units, (n, M), for all positions."""
    return kept if units.dim() == 2 else kept[:, :, None, None]


class _Accumulator:
    """Sums of correct predictions and logits over the images of each class."""

    def __init__(self, counts: int, classes: int) -> None:
        self._images = torch.zeros(classes, dtype=torch.float64)
        self._correct = torch.zeros(counts, classes, dtype=torch.float64)
        self._logits = torch.zeros(counts, classes, dtype=torch.float64)
        self._right, self._own = torch.zeros(2, counts, dtype=torch.float64)
        self._count = 0

    def add(self, j: int, logits: Tensor, predicted: Tensor, labels: Tensor) -> None:
        """Take in the remade logits of a batch; those of count 0 must come for every batch."""
        own = logits.gather(1, predicted[:, None])[:, 0].double().cpu()
        multilabel = labels.dim() == 2
        given = decided(logits, multilabel).cpu()
        image, label = (positions.cpu() for positions in class_pairs(labels))
        correct = given[image, label].double()
        self._correct[j].index_add_(0, label, correct)
        self._logits[j].index_add_(0, label, own[image])
        right = (given == labels.cpu()).double().mean(1) if multilabel else correct
        self._right[j] += right.sum()
        self._own[j] += own.sum()
        if j == 0:
            self._images.index_add_(0, label, torch.ones_like(correct))
            self._count += len(labels)

    def curve(self) -> Curve:
        classes = self._images
        of_class = torch.where(classes > 0, classes, torch.nan)
        return Curve(
            (self._right / self._count).float(),
            (self._own / self._count).float(),
            (self._correct / of_class).float(),
            (self._logits / of_class).float(),
        )

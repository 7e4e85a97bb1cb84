"""Stability of the units of a decision when the image or the training seed changes a little.

Index legend: `n` image, `m` unit, `k` kept units, `r` repeat.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.batches import first_batch, inputs_of, length, on, rows
from interpretable_sgd.analysis.contributions import top_units
from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.forward import placed, plain, reading
from interpretable_sgd.analysis.head_search import find_head
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.sparsity import THRESHOLD


@dataclass(frozen=True)
class Stability:
    """The units of decisions on images and on augmented copies of them.

    Attributes:
        jaccard: of the units of the largest contributions, (N, R); NaN where neither has any.
        same_class: whether the predicted class is the same, (N, R).
    """

    jaccard: Tensor
    same_class: Tensor


@dataclass(frozen=True)
class Matching:
    """The units of two networks, one to one, by the correlation of their activations.

    Attributes:
        partner: unit of the second network for each of the first, -1 for none, (M,).
        correlation: of the two, (M,); NaN for none.
    """

    partner: Tensor
    correlation: Tensor

    def translate(self, units: Tensor) -> Tensor:
        """Units of the first network as units of the second, any shape; -1 for none."""
        return self.partner[units.clamp(min=0)].masked_fill(units < 0, -1)


@dataclass(frozen=True)
class SeedStability:
    """The units of two trainings' decisions on the same images.

    Attributes:
        matching: of their units.
        jaccard: of the units of the largest contributions, translated, (N,); NaN where the
            predicted classes differ.
        chance: mean of the same with the partners shuffled.
        same_class: whether the predicted class is the same, (N,).
        class_jaccard: of the units that each class reads, translated, (C,).
    """

    matching: Matching
    jaccard: Tensor
    chance: float
    same_class: Tensor
    class_jaccard: Tensor


def jaccard(first: Tensor, second: Tensor) -> Tensor:
    r"""Overlap of two sets of units per image.

    .. math:: |A \cap B| / |A \cup B|

    Args:
        first: distinct units, -1 in empty slots, (n, k).
        second: the same, (n, k').

    Returns:
        In [0, 1], (n,); NaN where both are empty.

    >>> jaccard(torch.tensor([[0, 3, -1]]), torch.tensor([[3, 5, 0]]))
    tensor([0.6667])
    """
    common = ((first[:, :, None] == second[:, None, :]) & (first[:, :, None] >= 0)).sum((1, 2))
    # |A u B| = |A| + |B| - |A n B|
    union = (first >= 0).sum(1) + (second >= 0).sum(1) - common
    return common / torch.where(union > 0, union, torch.nan)


def under_augmentation(
    model: nn.Module,
    loader: Iterable[Any],
    augment: Callable[[Tensor], Tensor],
    head: Head | nn.Module | str | None = None,
    *,
    k: int = 5,
    repeats: int = 1,
    device: torch.device | str | None = None,
    report: Callable[[int], None] = lambda images: None,
) -> Stability:
    """Compare the units that speak for the predicted class with and without augmentation.

    The class is that of the image as it is, also where the copy is classified differently.

    Args:
        model: a classifier; evaluated without gradients, and left as it was.
        loader: gives (images, labels), or tensors of images.
        augment: images to as many changed images; random from whatever it draws from.
        head: as for `find_head`.
        k: units compared, at least 1.
        repeats: augmented copies of each image, at least 1.
        device: to run on; the model is moved there and back.
        report: told after each batch how many images are done.

    Raises:
        ValueError: k or repeats are below 1; augment changes the number of images; no images.

    >>> model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    >>> data = [(torch.rand(8, 4), torch.zeros(8, dtype=torch.long))]
    >>> under_augmentation(model, data, augment=lambda images: 2 * images / 2).jaccard.mean()
    tensor(1.)
    """
    for name, value in (("k", k), ("repeats", repeats)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    inner = plain(model)
    overlaps, same, done = [], [], 0
    first, loader = first_batch(loader)
    with ExitStack() as stack:
        place = stack.enter_context(placed(inner, device))
        found = find_head(inner, head, on(rows(inputs_of(first), slice(0, 2)), place))
        read = stack.enter_context(reading(inner, found))
        for inputs in map(inputs_of, loader):
            units, logits = read.run(on(inputs, place))
            classes = logits.argmax(1)
            # the class of the unchanged image throughout: another class reads other units anyway
            named = top_units(found.parts(units, classes), k)
            repeated = []
            for _ in range(repeats):
                changed = augment(inputs)
                if length(changed) != len(classes):
                    raise ValueError(
                        f"augment must give {len(classes)} images for as many, "
                        f"got {length(changed)}"
                    )
                units, logits = read.run(on(changed, place))
                again = top_units(found.parts(units, classes), k)
                repeated.append((jaccard(named, again).cpu(), (logits.argmax(1) == classes).cpu()))
            overlaps.append(torch.stack([overlap for overlap, _ in repeated], 1))
            same.append(torch.stack([equal for _, equal in repeated], 1))
            done += len(classes)
            report(done)
    return Stability(torch.cat(overlaps), torch.cat(same))


def match_units(first: Tensor, second: Tensor) -> Matching:
    r"""Pair the units of two networks so that the sum of their correlations is largest.

    .. math:: \max_\pi \sum_m \text{corr}_n(x_{nm}, y_{n\pi(m)})

    Li, Yosinski, Clune, Lipson and Hopcroft, Convergent Learning, ICLR 2016, section 3; solved by
    scipy's `linear_sum_assignment`. A unit that never changes correlates 0 with every other.

    Args:
        first: units of one network, (n, M).
        second: units of the other on the same images, (n, M').

    Raises:
        ImportError: scipy is not installed.
        ValueError: the images are not as many, or fewer than two.

    >>> x = torch.rand(50, 3)
    >>> match_units(x, x[:, [2, 0, 1]]).partner
    tensor([1, 2, 0])
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(
            "units must be of the same images, at least 2, "
            f"got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    from scipy.optimize import linear_sum_assignment

    similarity = _standardised(first).T @ _standardised(second) / len(first)
    rows, columns = map(torch.from_numpy, linear_sum_assignment(similarity.numpy(), maximize=True))
    partner = torch.full((first.shape[1],), -1)
    partner[rows] = columns
    correlation = torch.full((first.shape[1],), torch.nan)
    correlation[rows] = similarity[rows, columns].float()
    return Matching(partner, correlation)


def across_seeds(
    first: Decisions, second: Decisions, k: int = 5, generator: torch.Generator | None = None
) -> SeedStability:
    """Compare the decisions of two trainings on one data set; units without partner are left out.

    Args:
        first: of one training.
        second: of another, on the same images in the same order.
        k: units compared, at least 1, at most the contributions that were kept.
        generator: draws the shuffled partners of `chance`.

    Raises:
        ValueError: the decisions are of other images; k is out of range.
    """
    if not (torch.equal(first.hashes, second.hashes) and torch.equal(first.sample, second.sample)):
        raise ValueError("decisions must be of the same images with the same sample of units")
    kept = min(first.units.shape[2], second.units.shape[2])
    if not 1 <= k <= kept:
        raise ValueError(f"k must be in 1 .. {kept}, the contributions kept, got {k}")
    matching = match_units(first.sample_units, second.sample_units)
    same = first.predicted == second.predicted
    ours, theirs = first.units[:, 0, :k], second.units[:, 0, :k]

    def compared(matching: Matching) -> Tensor:
        return jaccard(matching.translate(ours), theirs).masked_fill(~same, torch.nan)

    order = torch.randperm(len(matching.partner), generator=generator)
    shuffled = Matching(matching.partner[order], matching.correlation[order])
    return SeedStability(
        matching,
        compared(matching),
        compared(shuffled).nanmean().item(),
        same,
        _class_jaccard(first.weight, second.weight, matching.partner),
    )


def _class_jaccard(first: Tensor, second: Tensor, partner: Tensor) -> Tensor:
    """Overlap of the units that each class reads, (C,); NaN where it reads none in either."""
    ours, theirs = first.abs() >= THRESHOLD, second.abs() >= THRESHOLD
    common = (ours[:, partner >= 0] & theirs[:, partner[partner >= 0]]).sum(1)
    union = ours[:, partner >= 0].sum(1) + theirs.sum(1) - common
    return common / torch.where(union > 0, union, torch.nan)


def _standardised(units: Tensor) -> Tensor:
    """Zero mean and unit variance over images, float64; 0 for a unit that never changes."""
    units = units.double().cpu()
    deviation = units.std(0, correction=0)
    return (units - units.mean(0)) / torch.where(deviation > 0, deviation, torch.inf)

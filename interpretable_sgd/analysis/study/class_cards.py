"""What there is to say of each class, on a card of its own.

Index legend: `c` class, `m` unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interpretable_sgd.analysis.composition import formula
from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.sparsity import THRESHOLD, labels_per_class
from interpretable_sgd.analysis.study.unit_cards import UnitCard


@dataclass(frozen=True)
class Use:
    """How a class uses a unit."""

    unit: int
    weight: float
    contribution: float


@dataclass(frozen=True)
class ClassCard:
    """One class.

    Attributes:
        index: counted from 0.
        name: of the class.
        images: with this label.
        accuracy: share of them that are recognised; None without images.
        weights: number with |weight| of at least 1e-3.
        labels: distinct concepts among their units, those without one counted apart.
        reach: by level, smallest k whose k largest mean shares reach it; None where none does.
        bias: of the class.
        uses: of the units of largest mean |contribution|, largest first.
        rest: mean contribution of all other units to the class's images.
        formula: the class in text, with its weights.
        mistaken_for: (class, images), most frequent first.
    """

    index: int
    name: str
    images: int
    accuracy: float | None
    weights: int
    labels: int | None
    reach: dict[float, int | None]
    bias: float
    uses: tuple[Use, ...]
    rest: float
    formula: str
    mistaken_for: tuple[tuple[int, int], ...]

    @property
    def logit(self) -> float:
        """Mean logit of the class over its images: uses, rest and bias."""
        return sum(use.contribution for use in self.uses) + self.rest + self.bias


def class_cards(
    decisions: Decisions,
    class_names: Sequence[str],
    units: Sequence[UnitCard],
    reach: dict[float, Tensor],
    *,
    top: int = 5,
) -> tuple[ClassCard, ...]:
    """Cards of all classes, in order.

    Args:
        decisions: on a data set.
        class_names: of all C classes.
        units: their cards.
        reach: by level, smallest k whose mean contribution reaches it, (C,), inf where none does.
        top: units on a card, >= 1.

    Raises:
        ValueError: top is below 1.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    labels = _labels_read(decisions.weight, units)
    return tuple(
        _card(
            decisions,
            c,
            name,
            units,
            None if labels is None else int(labels[c]),
            {level: k[c] for level, k in reach.items()},
            top,
        )
        for c, name in enumerate(class_names)
    )


def _labels_read(weight: Tensor, units: Sequence[UnitCard]) -> Tensor | None:
    """Distinct labels that each class reads, (C,); None without a dissection."""
    if all(unit.iou is None for unit in units):
        return None
    numbers = {title: i for i, title in enumerate(dict.fromkeys(unit.title for unit in units))}
    label = [numbers[unit.title] if unit.is_trusted else -1 for unit in units]
    return labels_per_class(weight, torch.tensor(label))


def _card(
    decisions: Decisions,
    c: int,
    name: str,
    units: Sequence[UnitCard],
    labels: int | None,
    reach: dict[float, Tensor],
    top: int,
) -> ClassCard:
    own = decisions.labels == c
    images = int(own.sum())
    weight = decisions.weight[c]
    parts = decisions.mean_parts[c] if images else torch.zeros_like(weight)
    read = (weight.abs() >= THRESHOLD).nonzero().flatten().tolist()
    # a class without images is ranked by its weights
    order = (parts if images else weight).abs().topk(min(top, len(weight))).indices.tolist()
    used = [m for m in order if abs(float(weight[m])) >= THRESHOLD]
    uses = tuple(Use(m, float(weight[m]), float(parts[m])) for m in used)
    terms = _merged([(units[m].title, float(weight[m])) for m in used])
    bias = float(decisions.bias[c])
    return ClassCard(
        index=c,
        name=name,
        images=images,
        accuracy=float(decisions.correct[own].double().mean()) if images else None,
        weights=len(read),
        labels=labels,
        reach={level: int(k) if bool(torch.isfinite(k)) else None for level, k in reach.items()},
        bias=bias,
        uses=uses,
        rest=float(parts.sum()) - sum(use.contribution for use in uses),
        formula=formula(name, terms, bias, others=len(read) - len(used)),
        mistaken_for=_mistakes(decisions.predicted[own], c),
    )


def _merged(terms: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Units of one concept as one term, largest first."""
    sums: dict[str, list[float]] = {}
    for title, weight in terms:
        sums.setdefault(title, []).append(weight)
    merged = [
        (title if len(found) == 1 else f"{title} ({len(found)} units)", sum(found))
        for title, found in sums.items()
    ]
    return sorted(merged, key=lambda term: -abs(term[1]))


def _mistakes(predicted: Tensor, c: int, count: int = 3) -> tuple[tuple[int, int], ...]:
    found, times = predicted[predicted != c].unique(return_counts=True)
    order = times.argsort(descending=True, stable=True)[:count].tolist()
    return tuple((int(found[i]), int(times[i])) for i in order)

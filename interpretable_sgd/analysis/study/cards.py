"""Cards of units and classes: what there is to say of each.

Index legend: `c` class, `m` unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from interpretable_sgd.analysis.composition import formula
from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.dissection.null import LEVEL
from interpretable_sgd.analysis.dissection.result import Dissection
from interpretable_sgd.analysis.dissection.scores import DETECTOR
from interpretable_sgd.analysis.sparsity import THRESHOLD, labels_per_class, readers
from interpretable_sgd.analysis.unit_naming import UnitNames


@dataclass(frozen=True)
class UnitCard:
    """One unit of the head.

    Attributes:
        unit: counted from 0.
        label: its best concept; None without a dissection, or where it meets no concept.
        category: of that concept.
        iou: with it.
        chance: what chance gives: the null's 95 % quantile; None without a null.
        p_value: of the label under the null.
        likeness: of a unit named by embeddings to its word; None for others.
        classes: number of classes whose |weight| is at least 1e-3.
        activity: share of images where the unit is above 0.
        mass: mean share of the unit in sum |contribution| of the predicted class.
        name: that its user gave it; None for none.
    """

    unit: int
    label: str | None
    category: str | None
    iou: float | None
    chance: float | None
    p_value: float | None
    classes: int
    activity: float
    mass: float
    name: str | None = None
    likeness: float | None = None

    @property
    def is_detector(self) -> bool:
        """Whether the IoU reaches 0.04."""
        return self.label is not None and (self.iou or 0) >= DETECTOR

    @property
    def is_trusted(self) -> bool:
        """Whether its label is more than chance, and if masks gave it, with an IoU that reaches 0.04."""
        if self.likeness is not None:
            return self.p_value is not None and self.p_value <= LEVEL
        return self.is_detector and (self.chance is None or (self.iou or 0) > self.chance)

    @property
    def title(self) -> str:
        """Its name if it has one; its label if that is to be believed; else its number."""
        if self.name is not None:
            return self.name
        return str(self.label) if self.is_trusted else f"unit {self.unit}"


def unit_cards(
    decisions: Decisions,
    dissection: Dissection | None = None,
    names: Sequence[str] | None = None,
    named: UnitNames | None = None,
) -> tuple[UnitCard, ...]:
    """Cards of all units of the head, in order.

    Args:
        decisions: on a data set.
        dissection: of the layer whose maps are the head's units.
        names: of the units, as their user knows them.
        named: by embeddings, where there is no dissection.

    Raises:
        ValueError: the dissected layer has another number of units, or so many were named.
    """
    units = decisions.weight.shape[1]
    if dissection is not None and dissection.units != units:
        raise ValueError(f"dissection must be of {units} units, got {dissection.units}")
    if named is not None and len(named.label) != units:
        raise ValueError(f"named must be of {units} units, got {len(named.label)}")
    classes = readers(decisions.weight).tolist()
    activity, mass = decisions.activity.tolist(), decisions.mass.tolist()
    labels = [_label(dissection, m) for m in range(units)]
    given = dict(enumerate(names)) if names is not None else named.given if named else {}
    cards = tuple(
        UnitCard(m, *labels[m], classes[m], activity[m], mass[m], given.get(m))
        for m in range(units)
    )
    if named is None:
        return cards
    found = zip(cards, named.p_value.tolist(), named.likeness.tolist(), strict=True)
    return tuple(
        replace(card, label=named.word_of(card.unit), p_value=p_value, likeness=likeness)
        for card, p_value, likeness in found
    )


def _label(
    dissection: Dissection | None, m: int
) -> tuple[str | None, str | None, float | None, float | None, float | None]:
    if dissection is None:
        return None, None, None, None, None
    label = int(dissection.label[m])
    concept = dissection.table.concepts[label] if label >= 0 else None
    has_null = len(dissection.null) > 0
    return (
        concept.title if concept else None,
        concept.category if concept else None,
        float(dissection.best[m]),
        float(dissection.null_quantile()[m]) if has_null else None,
        float(dissection.p_value[m]) if has_null else None,
    )


def titles_of(dissection: Dissection | None) -> list[str] | None:
    """What the units of any layer are called: a label to be believed, else the number."""
    if dissection is None:
        return None
    trusted = dissection.detectors()
    if len(dissection.null):
        trusted = trusted & dissection.significant()
    return [
        str(dissection.concept_of(m)) if trusted[m] else f"unit {m}"
        for m in range(dissection.units)
    ]


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
        given: images that are given the class.
        hits: of these, images with the label.
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
    given: int
    hits: int
    weights: int
    labels: int | None
    reach: dict[float, int | None]
    bias: float
    uses: tuple[Use, ...]
    rest: float
    formula: str
    mistaken_for: tuple[tuple[int, int], ...]

    @property
    def accuracy(self) -> float | None:
        """Share of the images with the label that are given it, its recall; None without images."""
        return self.hits / self.images if self.images else None

    @property
    def precision(self) -> float | None:
        """Share of the images given the class that have it; None where none is."""
        return self.hits / self.given if self.given else None

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
    if all(unit.iou is None and unit.likeness is None for unit in units):
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
    own = decisions.of_class(c)
    given = decisions.outcomes[c, :, 1]
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
        given=int(given.sum()),
        hits=int(given[1]),
        weights=len(read),
        labels=labels,
        reach={level: int(k) if bool(torch.isfinite(k)) else None for level, k in reach.items()},
        bias=bias,
        uses=uses,
        rest=float(parts.sum()) - sum(use.contribution for use in uses),
        formula=formula(name, terms, bias, others=len(read) - len(used)),
        mistaken_for=() if decisions.is_multilabel else _mistakes(decisions.predicted[own], c),
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

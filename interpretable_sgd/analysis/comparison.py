"""Two models side by side on the same images: decisions, units, and class formulas as a diff.

Index legend: `n` image, `m` unit of the first model, `p` unit of the second, `c` class.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.calibration import Z95
from interpretable_sgd.analysis.composition import strongest, unit_names
from interpretable_sgd.analysis.decisions import Decisions, decide
from interpretable_sgd.analysis.names import Names, checked_names, class_titles
from interpretable_sgd.analysis.sparsity import THRESHOLD
from interpretable_sgd.analysis.stability import SeedStability, across_seeds
from interpretable_sgd.analysis.table import Table, table

SAME = 0.5  # correlation from which two units count as the same
SHOWN = 10  # classes in the text of a comparison
COLUMNS = (
    *("class", "name", "read by", "unit", "first unit", "second unit"),
    *("correlation", "first weight", "second weight"),
)
SIGNS = {"both": " ", "first": "-", "second": "+"}


@dataclass(frozen=True)
class Term:
    """A unit that a class reads in one model, in the other, or in both.

    Attributes:
        units: its numbers in the first and in the second model; None in a model where no unit is the same.
        name: of the unit.
        weights: in the class's formulas; 0 where it is not read.
        correlation: of the two units over images; None without two.
    """

    units: tuple[int | None, int | None]
    name: str
    weights: tuple[float, float]
    correlation: float | None

    @property
    def read_by(self) -> str:
        """ "both", "first" or "second" model."""
        first, second = (abs(weight) >= THRESHOLD for weight in self.weights)
        return "both" if first and second else "first" if first else "second"

    def __str__(self) -> str:
        said = {
            "both": f"{self.weights[0]:+.2f} -> {self.weights[1]:+.2f}",
            "first": f"{self.weights[0]:+.2f}",
            "second": f"{self.weights[1]:+.2f}",
        }[self.read_by]
        return f"{SIGNS[self.read_by]} {said} {self.name}"


@dataclass(frozen=True)
class ClassDiff:
    """The formula of a class in two models.

    Attributes:
        index: counted from 0.
        name: of the class.
        terms: the largest of either formula: read by both, by the first alone, by the second alone.
        others: weights that are not among them, in the first and the second model.
        biases: in the first and the second model.
        accuracy: share of the class's images that are given it, by each; NaN without images.
    """

    index: int
    name: str
    terms: tuple[Term, ...]
    others: tuple[int, int]
    biases: tuple[float, float]
    accuracy: tuple[float, float]

    def __str__(self) -> str:
        lines = [self.name, *(f"  {term}" for term in self.terms)]
        if any(self.others):
            lines.append(f"    {self.others[0]} and {self.others[1]} others")
        return "\n".join([*lines, f"    bias {self.biases[0]:+.2f} -> {self.biases[1]:+.2f}"])


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images.

    Where labels are sets, "decision" is the class of the largest logit, and whether it is right.

    Attributes:
        names: of the models.
        accuracy: of each, over all images.
        outcomes: images by whether the first and the second model is right, (2, 2), int64.
        different: images that the models decide differently, ascending, int64.
        stability: matched units, and overlap of the units of the same decisions.
        classes: formulas, in order.
    """

    names: tuple[str, str]
    accuracy: tuple[float, float]
    outcomes: Tensor
    different: Tensor
    stability: SeedStability
    classes: tuple[ClassDiff, ...]

    def __len__(self) -> int:
        return int(self.outcomes.sum())

    @property
    def difference(self) -> tuple[float, float, float]:
        r"""Share of images that the second model is right on less that of the first; its 95 % interval.

        .. math:: d = \frac{n_{01} - n_{10}}{N}, \quad d \pm 1.96 \sqrt{\frac{n_{01} + n_{10}}{N^2} - \frac{d^2}{N}}

        McNemar's, as both decide on the same images: those that both are right or wrong on say nothing.
        """
        second, first = float(self.outcomes[0, 1]), float(self.outcomes[1, 0])
        share = (second - first) / len(self)
        half = Z95 * ((second + first) / len(self) ** 2 - share**2 / len(self)) ** 0.5
        return share, share - half, share + half

    @property
    def same_units(self) -> int:
        """Units of the first model that have the same unit in the second."""
        return int((self.stability.matching.correlation >= SAME).sum())

    def __repr__(self) -> str:
        return (
            f"Comparison({self.names[0]!r}, {self.names[1]!r}, {len(self)} images, "
            f"{len(self.different)} decided differently)"
        )

    def lines(self) -> list[str]:
        """What there is to say of them, in sentences."""
        (wrong, second), (first, right) = self.outcomes.tolist()
        share, low, high = self.difference
        overlap = float(self.stability.jaccard.nanmean())
        one, two = self.names
        return [
            f"{one} is right on {self.accuracy[0]:.1%}, {two} on {self.accuracy[1]:.1%} of "
            f"{len(self)} images: {100 * share:+.1f} points "
            f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f})",
            f"both are right on {right}, only {one} on {first}, only {two} on {second}, none on {wrong}; "
            f"{len(self.different)} are decided differently",
            f"{self.same_units} of {len(self.stability.matching.partner)} units of {one} have the same "
            f"unit in {two}; where the decision is the same, {overlap:.0%} of its units are "
            f"(by chance {self.stability.chance:.0%})",
        ]

    def __str__(self) -> str:
        shown = [str(diff) for diff in self.classes[:SHOWN]]
        if len(self.classes) > SHOWN:
            shown.append(f"... and {len(self.classes) - SHOWN} more classes")
        return "\n".join([*self.lines(), f"- {self.names[0]}, + {self.names[1]}", *shown])

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        said = "".join(f"<p>{escape(line)}</p>" for line in self.lines())
        diffs = "".join(f"<pre>{escape(str(diff))}</pre>" for diff in self.classes[:SHOWN])
        return said + diffs

    def to_table(self) -> Table:
        """All terms of all classes."""
        return table(
            f"Class formulas of {self.names[0]} (first) and {self.names[1]} (second)",
            COLUMNS,
            [
                [d.index, d.name, t.read_by, t.name, *t.units, t.correlation, *t.weights]
                for d in self.classes
                for t in d.terms
            ],
            {
                "correlation": f"of the two units over images; the same unit from {SAME} on",
                "read by": "|w| >= 1e-3",
            },
        )


def compare(
    first: nn.Module,
    second: nn.Module,
    loader: Iterable[Any],
    *,
    names: tuple[str, str] = ("first", "second"),
    class_names: Names | None = None,
    unit_names: Names | None = None,
    top: int = 5,
    device: torch.device | str | None = None,
) -> Comparison:
    """Compare two models: a dense and a sparse one, two trainings, or before and after an edit.

    Units are paired by the correlation of what they do on images (`match_units`); a pair is the same
    unit if it correlates at least 0.5. Weights stand as they are: of two trainings, a unit twice as
    large has half the weight.

    Args:
        first: a classifier; left as it was, as the second.
        second: another of the same classes.
        loader: gives inputs and labels, see `decide`; the same in each pass.
        names: of the models.
        class_names: of all classes.
        unit_names: of the units that the first model's head reads.
        top: terms of each formula, and units of a decision, >= 1.
        device: to run on; where each model is if None.

    Raises:
        ImportError: scipy is not installed.
        ValueError: the classes differ; names do not fit; top is below 1.

    >>> net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    >>> compare(net, net, [(torch.rand(8, 4), torch.arange(8) % 3)])
    Comparison('first', 'second', 8 images, 0 decided differently)
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    one, two = (decide(m, loader, device=device, keep=max(10, top)) for m in (first, second))
    titles = None
    if unit_names is not None:
        titles = checked_names("unit_names", unit_names, one.weight.shape[1])
    return compare_decisions(
        one, two, names, class_titles(class_names, len(one.weight)), titles, top
    )


def compare_decisions(
    first: Decisions,
    second: Decisions,
    names: tuple[str, str],
    class_names: Sequence[str],
    titles: Sequence[str] | None = None,
    top: int = 5,
) -> Comparison:
    """Of the decisions that two models have made; see `compare`.

    Raises:
        ValueError: they are of other images, or of other classes.
    """
    if len(first.weight) != len(second.weight):
        raise ValueError(
            f"second must tell the {len(first.weight)} classes of the first apart, "
            f"it tells {len(second.weight)}"
        )
    kept = min(top, first.units.shape[2], second.units.shape[2])
    stability = across_seeds(first, second, kept, torch.Generator().manual_seed(0))
    right = 2 * first.correct.long() + second.correct.long()
    titles = unit_names(first.weight.shape[1]) if titles is None else titles
    return Comparison(
        names=names,
        accuracy=(first.accuracy, second.accuracy),
        outcomes=torch.bincount(right, minlength=4).view(2, 2),
        different=(~stability.same_class).nonzero().flatten(),
        stability=stability,
        classes=tuple(
            _class_diff(first, second, stability, c, name, titles, top)
            for c, name in enumerate(class_names)
        ),
    )


def _class_diff(
    first: Decisions,
    second: Decisions,
    stability: SeedStability,
    c: int,
    name: str,
    titles: Sequence[str],
    top: int,
) -> ClassDiff:
    matching = stability.matching
    partner = {
        m: p
        for m, p in enumerate(matching.partner.tolist())
        if p >= 0 and matching.correlation[m] >= SAME
    }
    back = {p: m for m, p in partner.items()}
    found: set[tuple[int | None, int | None]]
    found = {(m, partner.get(m)) for m, _ in strongest(first.weight[c], top)}
    found |= {(back.get(p), p) for p, _ in strongest(second.weight[c], top)}
    terms = [_term(first, second, matching.correlation, c, pair, titles) for pair in found]
    order = list(SIGNS)
    terms.sort(key=lambda t: (order.index(t.read_by), -max(map(abs, t.weights)), str(t.units)))
    read = [int((d.weight[c].abs() >= THRESHOLD).sum()) for d in (first, second)]
    shown = [sum(abs(t.weights[i]) >= THRESHOLD for t in terms) for i in (0, 1)]
    hits = [d.outcomes[c, 1].double() for d in (first, second)]
    return ClassDiff(
        index=c,
        name=name,
        terms=tuple(terms),
        others=(read[0] - shown[0], read[1] - shown[1]),
        biases=(float(first.bias[c]), float(second.bias[c])),
        accuracy=(float(hits[0][1] / hits[0].sum()), float(hits[1][1] / hits[1].sum())),
    )


def _term(
    first: Decisions,
    second: Decisions,
    correlation: Tensor,
    c: int,
    pair: tuple[int | None, int | None],
    titles: Sequence[str],
) -> Term:
    m, p = pair
    name = titles[m] if m is not None else f"unit {p} of its own"
    return Term(
        units=pair,
        name=name,
        weights=(
            0.0 if m is None else float(first.weight[c, m]),
            0.0 if p is None else float(second.weight[c, p]),
        ),
        correlation=None if m is None or p is None else float(correlation[m]),
    )

"""The effect of a change on decisions: scores before and after, over all, by class, by group.

Index legend: `n` image, `c` class, `g` group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interpretable_sgd.analysis.accumulator import decided
from interpretable_sgd.analysis.batches import class_pairs

SHOWN = 5  # classes in the text of an effect, those that change most


class Accuracy(NamedTuple):
    """Shares of right decisions.

    Attributes:
        overall: of images; of labels that are sets, of all decisions on a class.
        by_class: of the images with label c that are given it, (C,); NaN without any.
        by_group: as overall, over the images of a group, (G,); NaN without any.
    """

    overall: float
    by_class: Tensor
    by_group: Tensor


@dataclass(frozen=True)
class Subjects:
    """The images that decisions are on.

    Attributes:
        labels: classes, (N,), int64, or sets of them, (N, C), bool.
        class_names: C names.
        groups: of each image, (N,), int64.
        group_names: G names; none without groups.
    """

    labels: Tensor
    class_names: tuple[str, ...]
    groups: Tensor
    group_names: tuple[str, ...]

    def given(self, logits: Tensor) -> Tensor:
        """Which classes each image is given, (N, C), bool."""
        return decided(logits, self.labels.dim() == 2)

    def right(self, logits: Tensor) -> Tensor:
        """Share of the decisions on each image that are right, (N,), float64: 0 or 1 for one label."""
        given = self.given(logits)
        if self.labels.dim() == 2:
            return (given == self.labels).double().mean(1)
        return given.gather(1, self.labels[:, None])[:, 0].double()

    def accuracy(self, logits: Tensor) -> Accuracy:
        """Of decisions by these logits, (N, C)."""
        right, (image, label) = self.right(logits), class_pairs(self.labels)
        hits = self.given(logits)[image, label].double()
        return Accuracy(
            float(right.mean()),
            _means(hits, label, len(self.class_names)),
            _means(right, self.groups, len(self.group_names)),
        )


def _means(values: Tensor, place: Tensor, count: int) -> Tensor:
    """Mean of the values at each place, (count,); NaN without any."""
    if not count:
        return values.new_empty(0)
    sums = values.new_zeros(count).index_add_(0, place, values)
    return sums / torch.bincount(place, minlength=count).to(values)


@dataclass(frozen=True)
class Effect:
    """What a change does to decisions.

    Attributes:
        cause: the change, in words.
        subjects: the images.
        logits_before: (N, C).
        logits: after it, (N, C).
        before: accuracy.
        after: accuracy.
        flipped: images that are decided otherwise, ascending, (F,), int64.
        gained: those of them where more is right than before.
        lost: those where less is.
    """

    cause: str
    subjects: Subjects
    logits_before: Tensor
    logits: Tensor
    before: Accuracy
    after: Accuracy
    flipped: Tensor
    gained: int
    lost: int

    @property
    def change(self) -> float:
        """Of the overall accuracy."""
        return self.after.overall - self.before.overall

    @property
    def worst_group(self) -> tuple[float, float]:
        """Accuracy of the worst group, before and after, be it the same or another; NaN without groups."""
        if not self.subjects.group_names:
            return float("nan"), float("nan")
        before, after = (a.by_group[~a.by_group.isnan()].min() for a in (self.before, self.after))
        return float(before), float(after)

    def __repr__(self) -> str:
        return (
            f"Effect({self.cause!r}, accuracy {self.before.overall:.3f} -> {self.after.overall:.3f}, "
            f"{len(self.flipped)} of {len(self.logits)} images decided otherwise)"
        )

    def rows(self) -> list[tuple[str, float, float]]:
        """Accuracy before and after: overall, of each group, and of the classes that change most."""
        subjects = self.subjects
        groups = zip(
            subjects.group_names,
            self.before.by_group.tolist(),
            self.after.by_group.tolist(),
            strict=True,
        )
        moved = (self.after.by_class - self.before.by_class).abs().nan_to_num(0)
        most = moved.argsort(descending=True, stable=True)[:SHOWN].tolist()
        classes = [
            (subjects.class_names[c], float(self.before.by_class[c]), float(self.after.by_class[c]))
            for c in most
            if moved[c] > 0
        ]
        return [("all images", self.before.overall, self.after.overall), *groups, *classes]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _, _ in rows)
        lines = [
            f"  {name:<{width}}  {before:7.2%} -> {after:7.2%}" for name, before, after in rows
        ]
        return "\n".join([self.cause, *lines, f"  {self._flips()}"])

    def _flips(self) -> str:
        return (
            f"{len(self.flipped)} of {len(self.logits)} images are decided otherwise: "
            f"{self.gained} for the better, {self.lost} for the worse"
        )

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        lines = "".join(
            f"<tr><td style='text-align:left'>{escape(name)}</td>"
            f"<td>{before:.2%}</td><td>{after:.2%}</td></tr>"
            for name, before, after in self.rows()
        )
        head = "<tr><th>accuracy</th><th>before</th><th>after</th></tr>"
        return (
            f"<p><b>{escape(self.cause)}</b></p><table>{head}{lines}</table><p>{self._flips()}</p>"
        )


def effect(cause: str, subjects: Subjects, before: Tensor, after: Tensor) -> Effect:
    """Of a change that turned some logits into others.

    Args:
        cause: the change, in words.
        subjects: the images.
        before: logits, (N, C).
        after: logits, (N, C).

    >>> subjects = Subjects(torch.tensor([0, 1]), ("cat", "dog"), torch.empty(0).long(), ())
    >>> before, after = torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    >>> effect("move everything", subjects, before, after)
    Effect('move everything', accuracy 0.500 -> 0.500, 2 of 2 images decided otherwise)
    """
    other = (subjects.given(before) != subjects.given(after)).any(1)
    difference = subjects.right(after) - subjects.right(before)
    return Effect(
        cause,
        subjects,
        before,
        after,
        subjects.accuracy(before),
        subjects.accuracy(after),
        other.nonzero().flatten(),
        int((difference > 0).sum()),
        int((difference < 0).sum()),
    )


def grouped(groups: Sequence[Any] | Tensor | None, images: int) -> tuple[Tensor, tuple[str, ...]]:
    """Groups as numbers, (N,), int64, and their names in order.

    Args:
        groups: a name or number for each image; None for no groups.
        images: N.

    Raises:
        ValueError: there is not one for each image.

    >>> grouped(["snow", "grass", "snow"], 3)
    (tensor([1, 0, 1]), ('grass', 'snow'))
    """
    if groups is None:
        return torch.zeros(images, dtype=torch.int64), ()
    named = groups.tolist() if isinstance(groups, Tensor) else list(groups)
    if len(named) != images:
        raise ValueError(f"groups must be {images}, one for each image, got {len(named)}")
    # numbers in their order, not in that of their digits
    order = sorted(set(named), key=lambda g: (isinstance(g, str), g))
    place = {group: i for i, group in enumerate(order)}
    return torch.tensor([place[group] for group in named]), tuple(map(str, order))

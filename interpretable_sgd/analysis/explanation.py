"""One decision explained: the units that made its logits, where they looked, and what is left over.

Index legend: `n` image, `m` unit, `c` class; the predicted class comes first, the runner-up second.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.batches import Inputs, check_labels, each, length, on, rows
from interpretable_sgd.analysis.conformal import SetRule
from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.forward import (
    Maps,
    captured,
    find_map_layer,
    layer_of,
    placed,
    plain,
    reading,
)
from interpretable_sgd.analysis.head_search import find_head
from interpretable_sgd.analysis.heads import Head, tolerance
from interpretable_sgd.analysis.images import Picture, as_picture, stretched
from interpretable_sgd.analysis.names import (
    InputNames,
    Names,
    class_titles,
    in_words,
    unit_titles,
)
from interpretable_sgd.analysis.prediction_sets import PredictionSet, sets_of


@dataclass(frozen=True)
class Reason:
    """One unit's part in a sum.

    Attributes:
        unit: counted from 0.
        name: of the unit.
        contribution: signed; parts, rest and bias add up to the sum.
        map: of the unit, (h, w), float32; None where the layer has no maps.
    """

    unit: int
    name: str
    contribution: float
    map: Tensor | None = None

    def __repr__(self) -> str:
        return f"Reason({self.contribution:+.2f} {self.name})"


@dataclass(frozen=True)
class UnitSum:
    """A number as a sum of reasons, largest first, of the rest of the units, and of a bias."""

    total: float
    reasons: tuple[Reason, ...]
    rest: float
    bias: float

    @property
    def residual(self) -> float:
        """Share of the sum of the units' contributions that the reasons leave out."""
        total = sum(reason.contribution for reason in self.reasons) + self.rest
        return self.rest / total if total else 0.0

    def terms(self) -> list[tuple[str, float]]:
        """Every term with its name: reasons, rest and bias."""
        named = [(reason.name, reason.contribution) for reason in self.reasons]
        return [*named, ("other units", self.rest), ("bias", self.bias)]

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.terms())
        lines = [f"  {name:<{width}}  {value:+8.2f}" for name, value in self.terms()]
        return "\n".join([*lines, f"  {'sum':<{width}}  {self.total:+8.2f}"])


@dataclass(frozen=True)
class Score(UnitSum):
    """The logit of a class as a sum.

    Attributes:
        class_index: counted from 0.
        name: of the class.
        probability: softmax of all logits, or sigmoid where classes do not exclude one another.
    """

    class_index: int
    name: str
    probability: float

    @property
    def logit(self) -> float:
        """What the terms add up to."""
        return self.total

    def __repr__(self) -> str:
        return f"Score({self.name!r}, logit {self.logit:.2f}, probability {self.probability:.2f})"


@dataclass(frozen=True)
class Explanation:
    """A decision taken apart.

    Attributes:
        index: of the image in its data set, counted from 0.
        label: its true class; several for an image with several, None where it is not known.
        label_name: of it.
        picture: (3, h, w), uint8; None where the input is no picture.
        words: the input in words; None without names of inputs.
        scores: of the predicted class, then of the runner-up.
        margin: logit of the predicted class less that of the runner-up, as a sum of the units that
            separate them most; of a head of one output the logit, which is of one class against the
            other.
        set: the classes that the image may have, by the rule that was given; None without one.
    """

    index: int
    label: int | tuple[int, ...] | None
    label_name: str | None
    picture: Tensor | None
    words: str | None
    scores: tuple[Score, Score]
    margin: UnitSum
    set: PredictionSet | None = None

    @property
    def predicted(self) -> Score:
        """Of the class with the largest logit."""
        return self.scores[0]

    @property
    def runner_up(self) -> Score:
        """Of the class with the second largest."""
        return self.scores[1]

    @property
    def is_right(self) -> bool | None:
        """Whether the decision on the predicted class is right; None where it is not known."""
        if self.label is None:
            return None
        if isinstance(self.label, tuple):
            return (self.predicted.class_index in self.label) == (self.predicted.logit > 0)
        return self.predicted.class_index == self.label

    def __repr__(self) -> str:
        said = "" if self.label is None else f", true {self.label_name!r}"
        return (
            f"Explanation(image {self.index}, predicted {self.predicted.name!r} "
            f"({self.predicted.probability:.2f}){said})"
        )

    def __str__(self) -> str:
        truth = "" if self.label is None else f", true: {self.label_name}"
        words = [] if self.words is None else [f"  {self.words}"]
        parts = [f"image {self.index}{truth}", *words]
        for role, score in zip(("predicted", "runner-up"), self.scores, strict=True):
            head = f"{role}: {score.name}, logit {score.logit:.2f}, probability {score.probability:.2f}"
            parts += [head, str(score)]
        parts += [f"margin {self.margin.total:.2f}, made by", str(self.margin)]
        return "\n".join(parts if self.set is None else [*parts, str(self.set)])

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        truth = "" if self.label is None else f", true: <b>{escape(str(self.label_name))}</b>"
        tables = "".join(
            f"<td style='vertical-align:top'>{_html_sum(f'{role}: {s.name} ({s.probability:.2f})', s)}</td>"
            for role, s in zip(("predicted", "runner-up"), self.scores, strict=True)
        )
        words = "" if self.words is None else f"<p>{escape(self.words)}</p>"
        return f"<p>image {self.index}{truth}</p>{words}<table><tr>{tables}</tr></table>"


def _html_sum(title: str, terms: UnitSum) -> str:
    lines = "".join(
        f"<tr><td style='text-align:left'>{escape(name)}</td><td>{value:+.2f}</td></tr>"
        for name, value in [*terms.terms(), ("sum", terms.total)]
    )
    return f"<table><caption>{escape(title)}</caption>{lines}</table>"


@torch.no_grad()
def explain(
    model: nn.Module,
    inputs: Inputs,
    labels: Any = None,
    head: Head | nn.Module | str | None = None,
    layer: nn.Module | str | None = None,
    *,
    top: int = 5,
    indices: Sequence[int] | None = None,
    picture: Picture | None = stretched,
    class_names: Names | None = None,
    unit_names: Names | None = None,
    input_names: InputNames | None = None,
    rule: SetRule | None = None,
    noise: Tensor | None = None,
    device: torch.device | str | None = None,
) -> list[Explanation]:
    r"""Explain the decisions on some images by the parts that their logits are the sum of.

    .. math:: z_{nc} = b_{nc} + \sum_{m \in top} P_{ncm} + \text{rest}

    The predicted class is explained, not the true one, which would hide errors. That terms add up to
    the logit, and that the logit is what the model returns, is checked.

    Args:
        model: run in evaluation mode; left as it was.
        inputs: of the model, one row for each image: a tensor, or a tuple or mapping of tensors.
        labels: true classes, as `decide` takes them; None where they are not known.
        head: the layer that makes the logits, or its name; found if None.
        layer: whose output maps are the head's units, or its name, for the heat maps; found if None.
        top: reasons shown of each sum, >= 1, by size.
        indices: of the images in their data set; 0, 1, ... if None.
        picture: turns an input on the CPU to a picture in [0, 1], (channels, h, w); None for none.
            Inputs that are no pictures have none.
        class_names: of all classes, or a mapping as `id2label` or `class_to_idx`.
        unit_names: of the units that the head reads.
        input_names: of the features of a row or of tokens; or a function from an input to text.
        rule: makes a set of the classes that an image may have, see `calibrated`; None for no sets.
        noise: of the rule, (n,); None if it was calibrated without.
        device: to run on; where the model is if None.

    Returns:
        One for each image; `print` shows it as text, a notebook as tables.

    Raises:
        ValueError: top is below 1, names or labels do not fit, the sums do not hold, or there is a rule and
            labels are sets.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    >>> (image,) = explain(model, torch.rand(1, 3, 2, 2), top=4)
    >>> score = image.predicted
    >>> parts = sum(reason.contribution for reason in score.reasons)
    >>> abs(parts + score.rest + score.bias - score.logit) < 1e-6
    True
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    inner = plain(model)
    with placed(inner, device) as place:
        given = on(inputs, place)
        found = find_head(inner, head, given)
        where = find_map_layer(inner, rows(given, slice(0, 2)), found) if layer is None else layer
        module = None if where is None else layer_of(inner, where)[1]
        capture = nullcontext(Maps()) if module is None else captured(module)
        with reading(inner, found) as read, capture as maps:
            units, logits = read.run(given)
    values = None if module is None else maps.values.float().cpu()
    if values is not None and values.shape[1] != found.weight.shape[1]:
        raise ValueError(
            f"layer must put out {found.weight.shape[1]} maps, one for each unit of the head, "
            f"got {values.shape[1]}"
        )
    truth = None if labels is None else check_labels(torch.as_tensor(labels), found.outputs)
    if truth is not None and len(truth) != len(logits):
        raise ValueError(f"labels must be {len(logits)}, one per image, got {len(truth)}")
    multilabel = truth is not None and truth.dim() == 2
    names = class_titles(class_names, found.outputs)
    titles = unit_titles(unit_names, input_names, units, given)
    titles = titles or tuple(f"unit {m}" for m in range(found.weight.shape[1]))
    probabilities = found.probabilities(logits, multilabel)
    if rule is not None and multilabel:
        raise ValueError("rule must be None where labels are sets of classes")
    sets = rule and sets_of(found, units, logits, rule, noise, names, titles, top)
    classes = logits.topk(2, dim=1).indices
    sides = [_terms(found, units, logits, classes[:, j]) for j in (0, 1)]
    explanations = []
    for n, image in enumerate(unstack(each(inputs, Tensor.cpu))):
        scores = []
        for j, (parts, biases) in enumerate(sides):
            c = int(classes[n, j])
            own = None if values is None else values[n]
            terms = _sum(parts[n], float(biases[n]), float(logits[n, c]), titles, own, top)
            scores.append(Score(*terms, c, names[c], float(probabilities[n, c])))
        label = None if truth is None else _label(truth[n])
        # one output is the logit of a class against the other already
        sign = 0 if found.is_binary else 1
        apart = sides[0][0][n] - sign * sides[1][0][n]
        bias = float(sides[0][1][n] - sign * sides[1][1][n])
        gap = scores[0].logit - sign * scores[1].logit
        margin = _sum(apart, bias, gap, titles, None, top)
        explanations.append(
            Explanation(
                index=n if indices is None else indices[n],
                label=label,
                label_name=_label_name(label, names),
                picture=as_picture(image, picture),
                words=in_words(image, input_names),
                scores=(scores[0], scores[1]),
                margin=UnitSum(*margin),
                set=sets[n] if sets else None,
            )
        )
    return explanations


def unstack(inputs: Inputs) -> list[Inputs]:
    """Inputs of the single images of a batch."""
    return [rows(inputs, n) for n in range(length(inputs))]


def _terms(head: Head, units: Tensor, logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Contributions and biases of one class per image, float64, checked against the logit."""
    parts, biases = head.terms(units, classes)
    own = logits.gather(1, classes[:, None])[:, 0]
    gap = (parts.sum(1) + biases - own).abs()
    if (gap > tolerance(logits.dtype) * (parts.abs().sum(1) + biases.abs())).any():
        raise ValueError(
            f"contributions and bias of head {head.name!r} must add up to the logit, "
            f"they miss it by {float(gap.max()):.3g}: its forward is not that of its class"
        )
    return parts.double().cpu(), biases.double().cpu()


def _sum(
    parts: Tensor,
    bias: float,
    total: float,
    titles: Sequence[str],
    maps: Tensor | None,
    top: int,
) -> tuple[float, tuple[Reason, ...], float, float]:
    """Fields of a `UnitSum`: the largest parts, and what is left of them all."""
    largest = parts.abs().topk(min(top, len(parts))).indices.tolist()
    reasons = tuple(
        Reason(m, titles[m], float(parts[m]), None if maps is None else maps[m].clone())
        for m in largest
        if parts[m] != 0
    )
    rest = float(parts.sum()) - sum(reason.contribution for reason in reasons)
    return total, reasons, rest if len(parts) > len(reasons) else 0.0, bias


def _label(truth: Tensor) -> int | tuple[int, ...]:
    return tuple(truth.nonzero()[:, 0].tolist()) if truth.dim() else int(truth)


def _label_name(label: int | tuple[int, ...] | None, names: Sequence[str]) -> str | None:
    if isinstance(label, tuple):
        return ", ".join(names[c] for c in label) or "none"
    return None if label is None else names[label]


def spread_evenly(decisions: Decisions, count: int) -> list[int]:
    """Images to explain: half right, half wrong, evenly over the data, so that nobody chose them.

    Where there are too few of one kind, more of the other.
    """
    right = decisions.correct.nonzero().flatten()
    wrong = (~decisions.correct).nonzero().flatten()
    few = min(count // 2, len(wrong))
    return torch.cat([_even(right, min(count - few, len(right))), _even(wrong, few)]).tolist()


def _even(positions: Tensor, count: int) -> Tensor:
    steps = (torch.arange(count) + 0.5) * len(positions) / max(1, count)
    return positions[steps.long()]

"""What the page of a study says, before it is laid out: sentences, facts, cards, strips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from interpretable_sgd.analysis.cards import ClassCard, UnitCard
from interpretable_sgd.analysis.explanation import Explanation, Verdict
from interpretable_sgd.analysis.studies import Study
from interpretable_sgd.report.markup import svg, tag
from interpretable_sgd.report.pictures import data_uri, enlarged, masked, spotlight, strip
from interpretable_sgd.report.waterfall import Part, waterfall
from interpretable_sgd.report.words import count, number, percent, plural, signed

SHARP_BELOW = 100  # pictures of fewer pixels a side are shown with their pixels


@dataclass(frozen=True)
class Fact:
    """A number that the page begins with."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Sheet:
    """The exemplars of a unit, side by side."""

    uri: str
    width: int
    height: int


def value(study: Study, name: str) -> float | None:
    """A figure of the study, if it has it."""
    return study.figures[name].value if name in study.figures else None


def lede(study: Study) -> str:
    """The study in three sentences."""
    weights = value(study, "weights_per_class") or 0.0
    units = int(value(study, "units") or 0)
    left = value(study, "outside_5")
    said = [
        f"It tells {plural(len(study.classes), 'class', 'classes')} apart and is right on "
        f"{percent(study.decisions.accuracy)} of {count(len(study.decisions))} images.",
        f"A class reads {number(weights, 1)} of {count(units)} units on average, and the five largest "
        f"contributions make up {percent(None if left is None else 1 - left)} of what units add to a decision.",
    ]
    if study.dissection is not None:
        trusted = sum(unit.is_trusted for unit in study.units)
        mass = value(study, "unlabelled_mass") or 0.0
        said.append(
            f"{plural(trusted, 'unit')} of {count(units)} can be named by a concept; units without a name "
            f"carry {percent(mass)} of the contributions."
        )
    return " ".join(said)


def facts(study: Study) -> list[Fact]:
    """The numbers of the masthead."""
    figures = [
        Fact("accuracy", percent(study.decisions.accuracy)),
        Fact(
            "weights per class",
            number(value(study, "weights_per_class"), 1),
            f"of {count(value(study, 'units'))}",
        ),
        Fact("of contributions outside the top five", percent(value(study, "outside_5"))),
        Fact(
            "classes with at most five weights", percent(value(study, "classes_with_5_weights"), 0)
        ),
    ]
    if study.dissection is not None:
        figures += [
            Fact(
                "units that match a concept",
                count(value(study, "detectors")),
                f"{count(value(study, 'unique_detectors'))} distinct",
            ),
            Fact(
                "of contributions by units without a concept",
                percent(value(study, "unlabelled_mass")),
            ),
        ]
    if value(study, "concept_f1") is not None:
        figures.append(
            Fact("F1 of class concepts against the truth", number(value(study, "concept_f1")))
        )
    return figures


def concept_name(unit: UnitCard) -> str:
    """How a unit is called in a caption."""
    if unit.label is None:
        return "no concept"
    return unit.label if unit.is_trusted else f"{unit.label}?"


def decision(study: Study, image: Explanation) -> dict[str, Any]:
    """An explained image with its verdicts."""
    picture = enlarged(image.picture)
    return {
        "index": image.index,
        "label": study.class_names[image.label],
        "is_right": image.is_right,
        "picture": data_uri(picture, quality=80),
        "width": picture.shape[2],
        "height": picture.shape[1],
        "sharp": max(image.picture.shape[1:]) < SHARP_BELOW,
        "verdicts": [_verdict(study, image, verdict) for verdict in image.verdicts],
    }


def _verdict(study: Study, image: Explanation, verdict: Verdict) -> dict[str, Any]:
    reasons, parts = [], []
    for reason in verdict.reasons:
        card = study.units[reason.unit]
        lit = spotlight(enlarged(image.picture), reason.map) if reason.map is not None else None
        reasons.append(
            {
                "unit": reason.unit,
                "contribution": reason.contribution,
                "concept": concept_name(card) if study.dissection else f"unit {reason.unit}",
                "iou": card.iou,
                "picture": None if lit is None else data_uri(lit),
                "width": None if lit is None else lit.shape[2],
                "height": None if lit is None else lit.shape[1],
            }
        )
        parts.append(Part(card.title, reason.contribution))
    others = len(study.units) - len(reasons)
    parts.append(Part(plural(others, "other unit"), verdict.rest, "rest"))
    parts.append(Part("bias", verdict.bias, "bias"))
    name = study.class_names[verdict.class_index]
    drawing = waterfall(parts, "= logit", title=f"The logit of {name} as a sum")
    return {"name": name, "logit": verdict.logit, "reasons": reasons, "waterfall": drawing}


def sheets(study: Study) -> dict[int, Sheet]:
    """A strip of exemplars for each unit that has any, masked at the unit's threshold.

    Without a dissection the mask is where the map exceeds half its peak.
    """
    found = {}
    for unit, exemplars in study.exemplars.items():
        if not exemplars:
            continue
        pictures = []
        for exemplar in exemplars:
            level = exemplar.peak / 2
            if study.dissection is not None:
                level = float(study.dissection.thresholds[unit])
            pictures.append(masked(enlarged(exemplar.picture, 112), exemplar.map, level))
        sheet = strip(pictures)
        found[unit] = Sheet(data_uri(sheet), sheet.width, sheet.height)
    return found


def class_view(study: Study, card: ClassCard) -> dict[str, Any]:
    """A class's card as the template reads it."""
    most = max((abs(use.contribution) for use in card.uses), default=0.0) or 1.0
    uses = [
        {
            "unit": use.unit,
            "weight": use.weight,
            "card": study.units[use.unit],
            "bar": _mini(use.contribution, most),
        }
        for use in card.uses
    ]
    mistakes = [(c, study.class_names[c], times) for c, times in card.mistaken_for]
    labels = " ".join(study.units[use.unit].title for use in card.uses)
    return {
        **{name: getattr(card, name) for name in CARD_FIELDS},
        "uses": uses,
        "reads": _reads(study, card),
        "search": f"{card.name} {labels}",
        "mistakes": mistakes,
        "reach": [(percent(level, 0), k) for level, k in card.reach.items()],
    }


def _reads(study: Study, card: ClassCard) -> str:
    """What a class reads, in a line: concepts with their share of what units add to its logit."""
    total = card.logit - card.bias
    found: dict[str, list[float]] = {}
    for use in card.uses:
        found.setdefault(study.units[use.unit].title, []).append(use.contribution)
    said = []
    for title, parts in sorted(found.items(), key=lambda entry: -sum(entry[1])):
        share = f" {percent(sum(parts) / total, 0)}" if total > 0 else ""
        units = f" in {len(parts)} units" if len(parts) > 1 else ""
        said.append(f"{title}{share}{units}")
    return ", ".join(said) or "reads no unit"


CARD_FIELDS = (
    *("index", "name", "accuracy", "weights", "labels"),
    *("images", "logit", "bias", "rest", "formula"),
)


def _mini(contribution: float, most: float) -> Markup:
    """A bar with its number, as wide as its share of the largest."""
    width = 84 * abs(contribution) / most
    kind = "second" if contribution < 0 else "first"
    return tag(
        "svg",
        tag("rect", x=0, y=3, width=width, height=14, class_=f"bar {kind}"),
        tag("text", signed(contribution), x=width + 6, y=14),
        viewBox="0 0 140 20",
        class_="mini",
        preserveAspectRatio="xMinYMid meet",
        aria_hidden="true",
    )


def iou_bars(units: Sequence[UnitCard]) -> dict[int, Markup]:
    """A small bar for each unit's IoU, with a tick where chance ends."""
    most = max((unit.iou or 0.0 for unit in units), default=0.0) or 1.0
    return {unit.unit: _iou_bar(unit, most) for unit in units if unit.iou is not None}


def _iou_bar(unit: UnitCard, most: float) -> Markup:
    drawn = [
        tag("rect", x=0, y=1, width=84, height=10, class_="track"),
        tag(
            "rect",
            x=0,
            y=1,
            width=84 * (unit.iou or 0.0) / most,
            height=10,
            class_=f"bar {'first' if unit.is_trusted else 'quiet'}",
        ),
    ]
    title = f"IoU {number(unit.iou)}"
    if unit.chance is not None:
        x = min(84 * unit.chance / most, 83.5)
        drawn.append(tag("line", x1=x, x2=x, y1=0, y2=12, class_="chance"))
        title += f", chance {number(unit.chance)}"
    return svg(84, 12, *drawn, title=title, class_="iou")


def pair_views(study: Study) -> list[dict[str, Any]]:
    """Contrasts of classes in words."""

    def named(unit: int, *weights: float) -> str:
        return f"{study.units[unit].title} ({' / '.join(signed(w) for w in weights)})"

    return [
        {
            "first": study.class_names[pair.first],
            "second": study.class_names[pair.second],
            "confused": pair.confused,
            "shared": ", ".join(named(*entry) for entry in pair.shared),
            "only_first": ", ".join(named(*entry) for entry in pair.only_first),
            "only_second": ", ".join(named(*entry) for entry in pair.only_second),
        }
        for pair in study.contrasts
    ]

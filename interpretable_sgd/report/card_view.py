"""Cards of classes and units as a page shows them: bars, exemplars, and what a class reads in a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from interpretable_sgd.analysis.study.class_cards import ClassCard
from interpretable_sgd.analysis.study.record import Study
from interpretable_sgd.analysis.study.unit_cards import UnitCard
from interpretable_sgd.report.formatting import number, percent, signed
from interpretable_sgd.report.pictures import data_uri, enlarged, masked, strip
from interpretable_sgd.report.svg import svg, tag

CARD_FIELDS = (
    *("index", "name", "accuracy", "weights", "labels"),
    *("images", "logit", "bias", "rest", "formula"),
)


@dataclass(frozen=True)
class Sheet:
    """The exemplars of a unit, side by side."""

    uri: str
    width: int
    height: int


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

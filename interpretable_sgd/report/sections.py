"""Sections of the page as its template reads them: decisions, cards of classes and units, composition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from interpretable_sgd.analysis.calibration import wilson_interval
from interpretable_sgd.analysis.composition import Composition, Edge
from interpretable_sgd.analysis.explanation import Explanation, Score
from interpretable_sgd.analysis.study.cards import ClassCard, UnitCard
from interpretable_sgd.analysis.study.record import Study
from interpretable_sgd.report.diagrams import Part, graph, waterfall
from interpretable_sgd.report.formatting import number, percent, plural, signed
from interpretable_sgd.report.pictures import (
    GAP,
    TILE,
    data_uri,
    enlarged,
    masked,
    spotlight,
    strip,
)
from interpretable_sgd.report.svg import svg, tag

CARD_FIELDS = (
    *("index", "name", "accuracy", "weights", "labels"),
    *("images", "logit", "bias", "rest", "formula"),
)
MANY, SMALL_TILE = 300, 56  # units with pictures, and the side of each above so many
SHARP_BELOW = 100  # pictures of fewer pixels a side are shown with their pixels
CLASSES_A_GRAPH = {1: 4, 2: 1}  # by levels below the class
GRAPHS = 6
BESIDE = 40  # classes whose formulas are shown in two models
READ_BELOW = 3  # units that a unit's node shows


def decision(study: Study, image: Explanation) -> dict[str, Any]:
    """An explained image with the sums that its two largest logits are."""
    picture = None if image.picture is None else enlarged(image.picture)
    return {
        "index": image.index,
        "label": image.label_name,
        "predicted": image.predicted.name,
        "is_right": image.is_right,
        "picture": None if picture is None else data_uri(picture, quality=80),
        "width": None if picture is None else picture.shape[2],
        "height": None if picture is None else picture.shape[1],
        "sharp": image.picture is not None and max(image.picture.shape[1:]) < SHARP_BELOW,
        "words": image.words,
        "scores": [_score(study, image, score) for score in image.scores],
        "margin": _margin(study, image),
        "set": image.set,
    }


def _score(study: Study, image: Explanation, score: Score) -> dict[str, Any]:
    reasons, parts = [], []
    for reason in score.reasons:
        card = study.units[reason.unit]
        lit = None
        if reason.map is not None and image.picture is not None:
            lit = spotlight(enlarged(image.picture), reason.map)
        reasons.append(
            {
                "unit": reason.unit,
                "contribution": reason.contribution,
                "card": card,
                "picture": None if lit is None else data_uri(lit),
                "width": None if lit is None else lit.shape[2],
                "height": None if lit is None else lit.shape[1],
            }
        )
        parts.append(Part(card.title, reason.contribution))
    others = len(study.units) - len(reasons)
    parts.append(Part(plural(others, "other unit"), score.rest, "rest"))
    parts.append(Part("bias", score.bias, "bias"))
    drawing = waterfall(parts, "= logit", title=f"The logit of {score.name} as a sum")
    return {
        "name": score.name,
        "logit": score.logit,
        "probability": score.probability,
        "reasons": reasons,
        "waterfall": drawing,
    }


def _margin(study: Study, image: Explanation) -> dict[str, Any]:
    """What separates the winner from the runner-up."""
    margin = image.margin
    parts = [Part(study.units[r.unit].title, r.contribution) for r in margin.reasons]
    others = len(study.units) - len(parts)
    parts.append(Part(plural(others, "other unit"), margin.rest, "rest"))
    parts.append(Part("bias", margin.bias, "bias"))
    title = f"The margin of {image.predicted.name} over {image.runner_up.name} as a sum"
    return {"total": margin.total, "waterfall": waterfall(parts, "= margin", title=title)}


@dataclass(frozen=True)
class Sheet:
    """The exemplars of a unit, side by side.

    Attributes:
        uri: of the picture.
        width: in pixels.
        height: in pixels.
        pair: width of its first two.
    """

    uri: str
    width: int
    height: int
    pair: int


def sheets(study: Study) -> dict[int, Sheet]:
    """A strip of exemplars for each unit that has any, masked at the unit's threshold.

    Without a dissection the mask is where the map exceeds half its peak. Where there are many units,
    pictures are smaller, so that a page of 1,000 classes can be sent around.
    """
    side = TILE if len(study.exemplars) <= MANY else SMALL_TILE
    found = {}
    for unit, exemplars in study.exemplars.items():
        pictures = []
        for exemplar in exemplars:
            if exemplar.picture is None:
                continue
            level = exemplar.peak / 2
            if study.dissection is not None:
                level = float(study.dissection.thresholds[unit])
            pictures.append(masked(enlarged(exemplar.picture, 112), exemplar.map, level))
        if pictures:
            sheet = strip(pictures, side)
            pair = min(sheet.width, 2 * side + GAP)
            found[unit] = Sheet(data_uri(sheet), sheet.width, sheet.height, pair)
    return found


def interval(ends: tuple[float, float] | None) -> str:
    """Ends of an interval of shares; nothing where there is none."""
    if ends is None or ends[0] != ends[0]:
        return ""
    return f"{percent(ends[0], 0)} to {percent(ends[1], 0)}"


def class_views(study: Study) -> list[dict[str, Any]]:
    """Cards of all classes: those with images first, each in the order of the model."""
    cards = sorted(study.classes, key=lambda card: not card.images)
    return [class_view(study, card) for card in cards]


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
        "precision": card.precision,
        "recall_interval": interval(wilson_interval(card.hits, card.images)),
        "precision_interval": interval(wilson_interval(card.hits, card.given)),
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


def set_rows(study: Study) -> list[dict[str, Any]]:
    """What prediction sets of each rule hold; none without calibration images."""
    if "sets" not in study.tables:
        return []
    found = study.tables["sets"]
    names = {
        **{"rule": "rule", "promised": "promised", "images": "calibration images", "held": "held"},
        **{"low": "held low", "high": "held high", "size": "mean size"},
        **{"one": "one class", "several": "several", "empty": "empty"},
    }
    columns = zip(*(found.column(column) for column in names.values()), strict=True)
    rows = [dict(zip(names, row, strict=True)) for row in columns]
    return [row | {"interval": interval((row["low"], row["high"]))} for row in rows]


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


def what_if_view(study: Study) -> dict[str, Any] | None:
    """Single edits as rows, and what the largest and the smallest do."""
    found = study.tables.get("what_if")
    if found is None:
        return None
    names = [name.replace(" ", "_") for name in found.columns]
    rows = [dict(zip(names, row, strict=True)) for row in found.rows]
    units = [row for row in rows if row["class"] is None]
    return {
        "rows": rows,
        "images": len(study.decisions.sample),
        "most": units[0],
        "idle": sum(not row["decided_otherwise"] for row in units),
        "units": len(units),
        "has_groups": rows[0]["worst_group"] is not None,
        "has_connections": len(units) < len(rows),
    }


def beside_view(study: Study) -> dict[str, Any] | None:
    """Two models in sentences, and the classes whose accuracy differs most with both formulas."""
    found = study.comparison
    if found is None:
        return None
    ranked = [diff for diff in found.classes if diff.accuracy[0] == diff.accuracy[0]]
    ranked.sort(key=lambda diff: -abs(diff.accuracy[1] - diff.accuracy[0]))
    return {
        "names": found.names,
        "lines": found.lines(),
        "classes": ranked[:BESIDE],
        "all": len(found.classes),
    }


def composition_view(study: Study) -> dict[str, Any]:
    """Graphs of a few classes each, and what to say of them."""
    found = study.composition
    depth = max((node.level for node in found.nodes), default=0)
    classes = [i for i, node in enumerate(found.nodes) if node.level == 0]
    size = CLASSES_A_GRAPH.get(depth, 1)
    groups = [classes[i : i + size] for i in range(0, len(classes), size)][:GRAPHS]
    graphs = []
    for group in groups:
        title = ", ".join(found.nodes[i].label for i in group)
        part = excerpt(found, group, READ_BELOW)
        graphs.append((title, graph(part, title=f"What these classes read: {title}")))
    shown = sum(len(group) for group in groups)
    note = "" if shown == len(classes) else f"The first {shown} of {len(classes)} classes."
    return {
        "graphs": graphs if found.edges else [],
        "has_below": depth == 2,
        "graph_note": note,
    }


def excerpt(found: Composition, roots: list[int], read_below: int) -> Composition:
    """The part of a graph that the roots read, and the strongest of what those units read."""
    kept, edges = list(roots), list[Edge]()
    for node in kept:
        own = [edge for edge in found.edges if edge.target == node]
        own = own if found.nodes[node].level == 0 else own[:read_below]
        edges += own
        kept += [edge.source for edge in own if edge.source not in kept]
    place = {node: i for i, node in enumerate(kept)}
    moved = tuple(Edge(place[e.source], place[e.target], e.weight) for e in edges)
    return Composition(tuple(found.nodes[node] for node in kept), moved)

"""What a study found, as tables: the numbers behind every picture of the report.

Unit and class numbers count from 0 in every table.
"""

from collections.abc import Sequence

from torch import Tensor

from interpretable_sgd.analysis.composition import Composition
from interpretable_sgd.analysis.confusions import Contrast
from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.explanation import Explanation
from interpretable_sgd.analysis.study.class_cards import ClassCard
from interpretable_sgd.analysis.study.unit_cards import UnitCard
from interpretable_sgd.analysis.table import Table, table

QUANTILES = (0.1, 0.5, 0.9)
UNIT_COLUMNS = (
    *("unit", "label", "category", "iou", "chance", "p"),
    *("detector", "above chance", "classes", "activity", "mass"),
)
CONTRAST_COLUMNS = (
    *("first", "second", "confused images", "read by", "unit"),
    *("weight in first", "weight in second"),
)


def by_outcome(decisions: Decisions) -> dict[str, Tensor]:
    """Which images were predicted right, and which wrong; a kind without images is left out."""
    found = {"right": decisions.correct, "wrong": ~decisions.correct}
    return {name: which for name, which in found.items() if which.any()}


def residual_table(decisions: Decisions) -> Table:
    """Residual(k) over the data, right and wrong predictions apart, by denominator."""
    rows = []
    for denominator, values in decisions.residuals.items():
        for outcome, which in by_outcome(decisions).items():
            chosen = values[which].double()
            for k in range(values.shape[1]):
                column = chosen[:, k]
                known = column[~column.isnan()]
                spread = known.quantile(known.new_tensor(QUANTILES)).tolist() if len(known) else []
                mean = float(known.mean()) if len(known) else None
                rows.append(
                    [denominator, outcome, k + 1, len(known), mean, *(spread or [None] * 3)]
                )
    return table(
        "What the k units of the largest shares leave unexplained",
        ["denominator", "prediction", "k", "images", "mean", "q10", "median", "q90"],
        rows,
        {
            "mean": "1 - sum of the k largest shares of the predicted class; below 0 where they "
            "exceed the score",
            "denominator": "faithful: the logit, bias included; signed: sum of all W x; absolute: "
            "sum of all |W x|",
            "images": "with a positive denominator",
        },
    )


def reach_table(decisions: Decisions, most: int = 8) -> Table:
    """How many units reach a level of the score, as shares of the images."""
    rows = []
    for level, counts in decisions.reach.items():
        for outcome, which in by_outcome(decisions).items():
            chosen = counts[which]
            chosen = chosen[~chosen.isnan()]
            n = max(1, len(chosen))
            for k in range(1, most + 1):
                rows.append([level, outcome, str(k), int((chosen == k).sum()) / n])
            beyond = (chosen > most) & chosen.isfinite()
            rows.append([level, outcome, f"> {most}", int(beyond.sum()) / n])
            rows.append([level, outcome, "never", int(chosen.isinf().sum()) / n])
    return table(
        "Smallest number of units whose faithful shares reach a level",
        ["level", "prediction", "units", "share of images"],
        rows,
        {"never": "the bias keeps all units together from the level"},
    )


def class_table(cards: Sequence[ClassCard]) -> Table:
    """One row a class."""
    levels = sorted({level for card in cards for level in card.reach})
    return table(
        "Classes",
        ["class", "name", "images", "accuracy", "weights", "labels"]
        + [f"units to {level}" for level in levels]
        + ["bias", "mean logit", "formula"],
        [
            [c.index, c.name, c.images, c.accuracy, c.weights, c.labels]
            + [c.reach.get(level) for level in levels]
            + [c.bias, c.logit if c.images else None, c.formula]
            for c in cards
        ],
        {
            "weights": "|w| >= 1e-3 in the row of the head (NEC)",
            "labels": "distinct concepts among their units, each unit without one counted apart",
            "units to": "smallest k whose k largest mean shares of the class's images reach the level",
        },
    )


def use_table(cards: Sequence[ClassCard]) -> Table:
    """The units on each class's card."""
    return table(
        "Units of each class",
        ["class", "name", "unit", "weight", "mean contribution"],
        [[c.index, c.name, u.unit, u.weight, u.contribution] for c in cards for u in c.uses],
        {"mean contribution": "over the images with this label, signed, in units of the logit"},
    )


def unit_table(units: Sequence[UnitCard]) -> Table:
    """One row a unit."""
    return table(
        "Units",
        UNIT_COLUMNS,
        [
            (
                *(u.unit, u.label, u.category, u.iou, u.chance, u.p_value),
                *(u.is_detector, u.is_trusted, u.classes, u.activity, u.mass),
            )
            for u in units
        ],
        {
            "iou": "intersection over union of the unit's masks with its best concept",
            "chance": "95 % quantile of the best IoU when labels are permuted across images",
            "detector": "iou >= 0.04",
            "classes": "with |w| >= 1e-3",
            "activity": "share of images where the unit is above 0",
            "mass": "mean share in sum |contribution| of the predicted class",
        },
    )


def category_table(units: Sequence[UnitCard]) -> Table:
    """Detectors and distinct labels by category of concept."""
    found = [unit for unit in units if unit.is_detector]
    names = sorted({str(unit.category) for unit in found})
    rows = []
    for name in names:
        own = [unit for unit in found if unit.category == name]
        trusted = [unit for unit in own if unit.is_trusted]
        unique = len({unit.label for unit in own})
        rows.append([name, len(own), len(trusted), unique])
    return table(
        "Unit labels by category",
        ["category", "detectors", "above chance", "distinct labels"],
        rows,
        {"detectors": "units with IoU >= 0.04", "above chance": "of them, above the null's 95 %"},
    )


def contrast_table(contrasts: Sequence[Contrast], names: Sequence[str]) -> Table:
    """Units that pairs of classes share or read alone."""
    rows: list[list[object]] = []
    for pair in contrasts:
        first, second, times = names[pair.first], names[pair.second], pair.confused
        rows += [[first, second, times, "both", m, one, two] for m, one, two in pair.shared]
        rows += [[first, second, times, "first", m, w, None] for m, w in pair.only_first]
        rows += [[first, second, times, "second", m, None, w] for m, w in pair.only_second]
    return table(
        "Pairs of classes most often confused, and the units that tell them apart",
        CONTRAST_COLUMNS,
        rows,
    )


def explanation_table(explanations: Sequence[Explanation], names: Sequence[str]) -> Table:
    """Every term of every verdict shown."""
    rows: list[list[object]] = []
    for image in explanations:
        for verdict in image.verdicts:
            start = [image.index, names[image.label], names[verdict.class_index]]
            rows += [[*start, f"unit {r.unit}", r.contribution] for r in verdict.reasons]
            rows += [[*start, "other units", verdict.rest], [*start, "bias", verdict.bias]]
            rows.append([*start, "logit", verdict.logit])
    return table(
        "Explained images: the terms of each logit",
        ["image", "label", "explained class", "term", "value"],
        rows,
    )


def composition_table(found: Composition) -> Table:
    """The edges of a composition graph."""
    levels = ("class", "unit", "unit below")
    rows = []
    for edge in found.edges:
        source, target = found.nodes[edge.source], found.nodes[edge.target]
        ends = [levels[target.level], target.index, target.label]
        rows.append([*ends, levels[source.level], source.index, source.label, edge.weight])
    return table(
        "Composition: what reads what",
        ["reader", "reader number", "reader name", "read", "read number", "read name", "weight"],
        rows,
    )


def tables(
    decisions: Decisions,
    units: Sequence[UnitCard],
    classes: Sequence[ClassCard],
    explanations: Sequence[Explanation],
    contrasts: Sequence[Contrast],
    graph: Composition,
) -> dict[str, Table]:
    """All of them, by name."""
    names = [card.name for card in classes]
    return {
        "classes": class_table(classes),
        "class_units": use_table(classes),
        "units": unit_table(units),
        "categories": category_table(units),
        "residuals": residual_table(decisions),
        "reach": reach_table(decisions),
        "explanations": explanation_table(explanations, names),
        "pairs": contrast_table(contrasts, names),
        "composition": composition_table(graph),
    }

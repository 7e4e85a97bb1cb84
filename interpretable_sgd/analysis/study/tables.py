"""Tables of a study: the numbers behind every picture of the report.

Unit and class numbers count from 0 in every table.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from interpretable_sgd.analysis.ablation import Ablation
from interpretable_sgd.analysis.calibration import calibration, wilson_interval
from interpretable_sgd.analysis.composition import Composition
from interpretable_sgd.analysis.confusions import Contrast
from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.explanation import Explanation
from interpretable_sgd.analysis.set_trial import SetTrial
from interpretable_sgd.analysis.sparsity import weights_per_class
from interpretable_sgd.analysis.stability import Stability
from interpretable_sgd.analysis.study.cards import ClassCard, UnitCard
from interpretable_sgd.analysis.study.record import Compared, Curves
from interpretable_sgd.analysis.study.summary import confidences
from interpretable_sgd.analysis.table import Table, table

QUANTILES = (0.1, 0.5, 0.9)
UNIT_COLUMNS = (
    *("unit", "name", "label", "category", "iou", "likeness", "chance", "p"),
    *("detector", "above chance", "classes", "activity", "mass"),
)
SET_COLUMNS = (
    *("rule", "promised", "calibration images", "held", "held low", "held high"),
    *("mean size", "empty", "one class", "several", "held with winner"),
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
    recalls = [wilson_interval(c.hits, c.images) for c in cards]
    precisions = [wilson_interval(c.hits, c.given) for c in cards]
    return table(
        "Classes",
        ["class", "name", "images", "accuracy", "accuracy low", "accuracy high"]
        + ["precision", "precision low", "precision high", "weights", "labels"]
        + [f"units to {level}" for level in levels]
        + ["bias", "mean logit", "formula"],
        [
            [c.index, c.name, c.images, c.accuracy, *recall, c.precision, *precision]
            + [c.weights, c.labels]
            + [c.reach.get(level) for level in levels]
            + [c.bias, c.logit if c.images else None, c.formula]
            for c, recall, precision in zip(cards, recalls, precisions, strict=True)
        ],
        {
            "accuracy": "share of the class's images that are given it (recall, sensitivity)",
            "precision": "share of the images given the class that have it",
            "low, high": "ends of Wilson's 95 % interval",
            "weights": "|w| >= 1e-3 in the row of the head (NEC)",
            "labels": "distinct concepts among their units, each unit without one counted apart",
            "units to": "smallest k whose k largest mean shares of the class's images reach the level",
        },
    )


def confusion_table(decisions: Decisions, names: Sequence[str]) -> Table:
    """How many images of each class are given each class; pairs that never happen are left out.

    Of labels that are sets there is none: the classes table has how often each is right.
    """
    rows: list[list[object]] = []
    if not decisions.is_multilabel:
        pairs = torch.stack([decisions.labels, decisions.predicted], 1)
        found, times = pairs.unique(dim=0, return_counts=True)
        for (label, given), count in zip(found.tolist(), times.tolist(), strict=True):
            rows.append([label, names[label], given, names[given], count])
    return table(
        "Confusion matrix: images by label and by prediction",
        ["label", "label name", "predicted", "predicted name", "images"],
        rows,
    )


def calibration_table(decisions: Decisions) -> Table:
    """How often predictions of each probability are right."""
    found = calibration(*confidences(decisions))
    bins = len(found.count)
    right = (found.accuracy.nan_to_num(0) * found.count).round()
    columns = [x.tolist() for x in (found.count, found.confidence, found.accuracy, right)]
    return table(
        "Calibration: probability of the predicted class, and how often it is right",
        ["from", "to", "images", "mean probability", "accuracy", "accuracy low", "accuracy high"],
        [
            [b / bins, (b + 1) / bins, n, mean, share, *wilson_interval(true, n)]
            for b, (n, mean, share, true) in enumerate(zip(*columns, strict=True))
        ],
        {"low, high": "ends of Wilson's 95 % interval"},
    )


def set_table(found: SetTrial, decisions: Decisions) -> Table:
    """What prediction sets of each rule hold."""
    n = len(decisions)
    rows = []
    for rule, sizes, held in zip(found.rules, found.sizes, found.held, strict=True):
        share = [int(which.sum()) / n for which in (sizes == 0, sizes == 1, sizes > 1)]
        mean, hits = float(sizes.double().mean()), int(held.sum())
        kept = int((held | ((sizes == 0) & decisions.correct)).sum())
        rows.append(
            [
                *(rule.name, rule.coverage, rule.images, hits / n, *wilson_interval(hits, n)),
                *(mean, *share, kept / n),
            ]
        )
    return table(
        "Prediction sets: classes that hold the true one as often as promised",
        SET_COLUMNS,
        rows,
        {
            "rule": "APS: classes from the most likely down; RAPS: the same, far ranks made dear",
            "held": "share of images whose set has their class",
            "low, high": "ends of Wilson's 95 % interval, of these images alone",
            "held with winner": "the same where the predicted class is put into empty sets",
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
                *(u.unit, u.name, u.label, u.category, u.iou, u.likeness, u.chance, u.p_value),
                *(u.is_detector, u.is_trusted, u.classes, u.activity, u.mass),
            )
            for u in units
        ],
        {
            "likeness": "correlation of the unit with its word's likeness to the images, without masks",
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


def explanation_table(explanations: Sequence[Explanation]) -> Table:
    """Every term of every logit shown."""
    rows: list[list[object]] = []
    for image in explanations:
        for score in image.scores:
            start = [image.index, image.label_name, score.name]
            rows += [[*start, f"unit {r.unit}", r.name, r.contribution] for r in score.reasons]
            ends = {"other units": score.rest, "bias": score.bias, "logit": score.logit}
            rows += [[*start, name, None, value] for name, value in ends.items()]
            rows.append([*start, "probability", None, score.probability])
    return table(
        "Explained images: the terms of each logit",
        ["image", "label", "explained class", "term", "unit name", "value"],
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


def ablation_table(found: Ablation) -> Table:
    """Scores with some units alone, without them, and with some weights alone."""
    whole = [None, None, float(found.whole.accuracy[0]), float(found.whole.logit[0])]
    rows = [["whole", *whole[1:]]]
    for change in ("keep", "remove", "prune"):
        curve = getattr(found, change)
        scores = zip(found.counts, curve.accuracy.tolist(), curve.logit.tolist(), strict=True)
        rows += [[change, *row] for row in scores]
    return table(
        "Accuracy and logit when units are kept or removed",
        ["change", "count", "accuracy", "logit"],
        rows,
        {
            "keep": "only the units of the count largest contributions to the predicted class",
            "remove": "all others but those",
            "prune": "the largest |w| of the head alone, count a class on average",
            "logit": "mean logit of the class that the whole network predicts",
        },
    )


def ablation_class_table(found: Ablation, names: Sequence[str]) -> Table:
    """The same by class, over the images with this label."""
    rows = [
        [change, k, c, name, *scores]
        for change in ("keep", "remove")
        for curve in [getattr(found, change)]
        for j, k in enumerate(found.counts)
        for c, name in enumerate(names)
        for scores in [[curve.class_accuracy[j, c], curve.class_logit[j, c]]]
    ]
    return table(
        "Keeping and removing units, by class",
        ["change", "count", "class", "name", "accuracy", "logit"],
        rows,
    )


def compared_table(
    accuracy: float, weights: float, ablation: Ablation, compared: Sequence[Compared]
) -> Table:
    """Accuracy against weights per class: this model, as it is and cut, and others."""
    cut = zip(ablation.counts, ablation.prune.accuracy.tolist(), strict=True)
    rows: list[list[object]] = [["this model, cut", k, a, 1, None] for k, a in cut if k]
    rows.append(["this model", weights, accuracy, 1, None])
    rows += [[m.name, m.weights_per_class, m.accuracy, m.seeds, m.error] for m in compared]
    return table(
        "Accuracy against weights per class",
        ["model", "weights per class", "accuracy", "seeds", "standard error"],
        rows,
        {"cut": "the largest weights of the head alone, nothing trained again"},
    )


def training_table(training: Curves, axis: str = "step") -> Table:
    """Curves of training runs; "MEASURE: MODEL" names one of several models."""
    rows = [
        [*_measured(name), step, value]
        for name, (steps, values) in training.items()
        for step, value in zip(steps, values, strict=True)
    ]
    return table("Training curves", ["series", "model", axis, "value"], rows)


def _measured(name: str) -> tuple[str, str | None]:
    measure, _, model = name.partition(": ")
    return measure, model or None


def stability_table(found: Stability) -> Table:
    """How alike the units of a decision are when the image changes a little."""
    overlap = found.jaccard[~found.jaccard.isnan()]
    same = found.jaccard[found.same_class & ~found.jaccard.isnan()]
    rows: list[list[object]] = [
        ["images", len(found.jaccard)],
        ["same class", found.same_class.double().mean()],
        ["overlap of units", overlap.mean()],
        ["overlap of units, same class", same.mean()],
        ["identical units", (overlap == 1).double().mean()],
    ]
    return table(
        "Units of decisions on images and on changed copies",
        ["measure", "value"],
        rows,
        {"overlap": "Jaccard index of the units of the largest contributions"},
    )


def trial_tables(
    decisions: Decisions,
    ablation: Ablation,
    stability: Stability | None,
    names: Sequence[str],
    compared: Sequence[Compared],
) -> dict[str, Table]:
    """Tables of what happens when something changes, by name."""
    weights = float(weights_per_class(decisions.weight).double().mean())
    found = {
        "ablation": ablation_table(ablation),
        "ablation_classes": ablation_class_table(ablation, names),
        "compared": compared_table(decisions.accuracy, weights, ablation, compared),
    }
    if stability is not None:
        found["stability"] = stability_table(stability)
    return found


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
        "confusion": confusion_table(decisions, names),
        "calibration": calibration_table(decisions),
        "class_units": use_table(classes),
        "units": unit_table(units),
        "categories": category_table(units),
        "residuals": residual_table(decisions),
        "reach": reach_table(decisions),
        "explanations": explanation_table(explanations),
        "pairs": contrast_table(contrasts, names),
        "composition": composition_table(graph),
    }

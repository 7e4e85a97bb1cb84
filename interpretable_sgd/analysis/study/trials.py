"""Tables of what happens when something changes: units, weights, images, the model, the step."""

from collections.abc import Sequence

from interpretable_sgd.analysis.ablation import Ablation
from interpretable_sgd.analysis.stability import Stability
from interpretable_sgd.analysis.study.record import Compared, Curves
from interpretable_sgd.analysis.table import Table, table


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

"""The charts of a report, each drawn from a table of the study alone."""

from itertools import cycle

from markupsafe import Markup

from interpretable_sgd.analysis.study.record import Study
from interpretable_sgd.analysis.table import Table
from interpretable_sgd.report.charts import Bar, Line, bars, columns, heat_map, lines
from interpretable_sgd.report.formatting import count

KINDS = ("first", "second", "third", "fourth", "quiet")
CUT = ", cut"
MARKED = 20  # points of a curve, up to which each has a dot
CALIBRATION = ("images", "mean probability", "accuracy", "accuracy low", "accuracy high")
OUTCOMES = {"right": "first", "wrong": "second"}


def residual_chart(residuals: Table) -> Markup:
    """Median residual(k) with its middle 80 %, right and wrong predictions apart."""
    curves = []
    for outcome, kind in OUTCOMES.items():
        rows = residuals.where(denominator="faithful", prediction=outcome)
        if not rows.rows:
            continue
        points = list(zip(rows.column("k"), map(_or_nan, rows.column("median")), strict=True))
        band = [
            (k, _or_nan(low), _or_nan(high))
            for k, low, high in zip(
                rows.column("k"), rows.column("q10"), rows.column("q90"), strict=True
            )
        ]
        curves.append(Line(f"{outcome} predictions", points, kind, band, dots=True))
    ks = sorted(set(residuals.column("k")))
    return lines(
        curves,
        title="Share of the logit that the k largest contributions leave over",
        x_title="units counted, k",
        y_title="left over",
        y_percent=True,
        x_ticks=ks if len(ks) <= 12 else None,
    )


def reach_chart(reach: Table, level: float = 0.95) -> Markup:
    """How many units reach a level, as shares of the right and of the wrong predictions."""
    chosen = reach.where(level=level)
    outcomes = [name for name in OUTCOMES if name in chosen.column("prediction")]
    shares = {
        name: dict(zip(rows.column("units"), rows.column("share of images"), strict=True))
        for name in outcomes
        for rows in [chosen.where(prediction=name)]
    }
    names = list(dict.fromkeys(chosen.column("units")))
    groups = [(name, [shares[outcome][name] for outcome in outcomes]) for name in names]
    return columns(
        groups,
        names=[f"{name} predictions" for name in outcomes],
        title=f"Number of units that reach {level:.0%} of the logit",
        x_title=f"units that reach {level:.0%} of the logit",
        y_title="share of images",
    )


def confusion_chart(confusion: Table, most: int = 12) -> Markup:
    """Images by label and prediction, as a grid of shares of each row.

    Args:
        confusion: label, predicted and images in its rows.
        most: classes shown: those with the most mistakes.
    """
    counts = {
        (label, given): n
        for label, _, given, _, n in confusion.rows
        if isinstance(label, int) and isinstance(given, int) and isinstance(n, int)
    }
    names: dict[int, str] = {}
    wrong: dict[int, int] = {}
    for label, name, given, given_name, n in confusion.rows:
        for c, title in ((label, name), (given, given_name)):
            names[int(str(c))] = str(title)
            wrong[int(str(c))] = wrong.get(int(str(c)), 0) + (int(str(n)) if label != given else 0)
    shown = sorted(sorted(names, key=lambda c: -wrong[c])[:most])
    totals = {c: sum(n for (label, _), n in counts.items() if label == c) for c in shown}
    cells = [[counts.get((row, column), 0) for column in shown] for row in shown]
    shares = [
        [n / max(1, totals[row]) for n in line] for row, line in zip(shown, cells, strict=True)
    ]
    return heat_map(
        [names[c] for c in shown], cells, shares, title="Images by label and by prediction"
    )


def calibration_chart(found: Table) -> Markup:
    """Share of right decisions against their probability."""
    bins = [
        row for row in zip(*(found.column(name) for name in CALIBRATION), strict=True) if row[0]
    ]
    points = [(x, y) for _, x, y, _, _ in bins]
    bounds = [(x, low, high) for _, x, _, low, high in bins]
    diagonal = Line("as they say", [(0.0, 0.0), (1.0, 1.0)], "quiet")
    return lines(
        [Line("decisions", points, dots=True, line=False, bounds=bounds), diagonal],
        title="Share of right decisions by their probability",
        x_title="probability of the predicted class",
        y_title="right",
        x_percent=True,
        y_percent=True,
        y_range=(0.0, 1.0),
    )


def category_chart(categories: Table) -> Markup:
    """Detectors by category; the pale end is no more than chance."""
    rows = zip(*(categories.column(name) for name in categories.columns), strict=True)
    found = [
        Bar(name, units, f"{count(units)} units, {count(unique)} labels", part=units - trusted)
        for name, units, trusted, unique in rows
    ]
    return bars(sorted(found, key=lambda bar: -bar.value), title="Unit labels by category")


def iou_chart(units: Table) -> Markup:
    """Best IoU of every unit, largest first, over what chance gives."""
    pairs = sorted(
        ((i or 0.0, c) for i, c in zip(units.column("iou"), units.column("chance"), strict=True)),
        key=lambda pair: -pair[0],
    )
    curves = [
        Line("best IoU", [(n + 1, iou) for n, (iou, _) in enumerate(pairs)], dots=len(pairs) < 90)
    ]
    chance = [(n + 1, c) for n, (_, c) in enumerate(pairs) if c is not None]
    if chance:
        curves.append(Line("chance, 95 % quantile", chance, "second", dots=True, line=False))
    curves.append(Line("IoU 0.04", [(1, 0.04), (max(2, len(pairs)), 0.04)], "quiet"))
    return lines(
        curves,
        title="Best IoU of each unit and what chance gives",
        x_title="units, best first",
        y_title="IoU",
        y_range=(0.0, max([iou for iou, _ in pairs] + [0.05]) * 1.06),
    )


def ablation_chart(ablation: Table, measure: str, y_title: str) -> Markup:
    """What is left of accuracy or logit when the largest contributions are kept, or removed."""
    kinds = {"keep": ("only the top n kept", "first"), "remove": ("top n removed", "second")}
    # counts grow too fast for a linear axis and start at 0: one step each
    counts = list(dict.fromkeys(ablation.where(change="keep").column("count")))
    curves = []
    for change, (name, kind) in kinds.items():
        values = map(_or_nan, ablation.where(change=change).column(measure))
        curves.append(Line(name, list(enumerate(values)), kind, dots=True))
    return lines(
        curves,
        title=f"{y_title} when units are kept or removed",
        x_title="units, n",
        y_title=y_title,
        y_percent=measure == "accuracy",
        y_range=(0.0, 1.0) if measure == "accuracy" else None,
        x_ticks=range(len(counts)),
        x_labels=[str(count) for count in counts],
    )


def comparison_chart(compared: Table) -> Markup:
    """Accuracy against weights per class, every model on one axis.

    A model and the same model cut have one colour and one name: a line, and a large dot on it.
    """
    names = list(dict.fromkeys(compared.column("model")))
    models = list(dict.fromkeys(name.removesuffix(CUT) for name in names))
    kinds = dict(zip(models, cycle(KINDS), strict=False))
    curves = []
    for name in names:
        own = name.removesuffix(CUT)
        rows = compared.where(model=name)
        points = sorted(zip(rows.column("weights per class"), rows.column("accuracy"), strict=True))
        whole = len(points) == 1
        named = name == own + CUT or own + CUT not in names
        curves.append(
            Line(
                own,
                points,
                kinds[own],
                dots=True,
                line=not whole,
                named=named,
                radius=6.0 if whole else 2.4,
            )
        )
    return lines(
        curves,
        title="Accuracy against weights per class",
        x_title="weights per class (log)",
        y_title="accuracy",
        x_log=True,
        y_percent=True,
    )


def training_chart(training: Table, series: str) -> Markup:
    """One measure of the training, a curve for each model."""
    rows = training.where(series=series)
    axis = rows.columns[2]
    curves = []
    for model, kind in zip(dict.fromkeys(rows.column("model")), cycle(KINDS), strict=False):
        own = rows.where(model=model)
        points = list(zip(own.column(axis), map(_or_nan, own.column("value")), strict=True))
        curves.append(Line(model or series, points, kind, dots=len(points) <= MARKED))
    # steps have no zero and most happens early; epochs have one
    log = min(rows.column(axis)) > 0 and axis == "step"
    return lines(
        curves,
        title=f"{series} during training",
        x_title=f"{axis} (log)" if log else axis,
        y_title=series,
        x_log=log,
        y_percent=series.endswith("accuracy") or series.startswith("share"),
    )


def drawings(study: Study) -> dict[str, Markup]:
    """Every chart whose table the study has, by the table's name."""
    found = study.tables
    drawn = {"residuals": residual_chart(found["residuals"]), "reach": reach_chart(found["reach"])}
    drawn["calibration"] = calibration_chart(found["calibration"])
    if found["confusion"].rows:
        drawn["confusion"] = confusion_chart(found["confusion"])
    if study.dissection is not None:
        drawn["categories"] = category_chart(found["categories"])
        drawn["units"] = iou_chart(found["units"])
    if "ablation" in found:
        drawn["ablation accuracy"] = ablation_chart(found["ablation"], "accuracy", "accuracy")
        drawn["ablation logit"] = ablation_chart(found["ablation"], "logit", "mean logit")
    if "compared" in found:
        drawn["compared"] = comparison_chart(found["compared"])
    return drawn


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value

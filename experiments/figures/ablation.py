"""Our own choices, one changed at a time: accuracy and weights per class, one panel for each option."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
    StrMethodFormatter,
)

from experiments.figures.series import OURS, RESNET, SCALE, missing_runs
from experiments.figures.style import PlottedNumbers, Scheme, canvas, clean, data_of, publish
from experiments.store import Stored

MEASURES = {"validation_accuracy": "validation", "accuracy": "test", "weights_per_class": "weights"}
COLUMNS = ("option", "value", "measure", "mean", "sd", "seeds")
Values = Mapping[str, Sequence[Stored]]


def ablation(
    stored: Sequence[Stored], out: Path, data: Sequence[str] | None = None, scale: str = SCALE
) -> list[Path]:
    """Draw `ablation-1`, `ablation-2` ... for each data set; the default is in every panel.

    Choices are judged by validation accuracy; test accuracy stands beside it and is nobody's criterion.
    Points are means over seeds, bars one standard deviation to each side, where there are several seeds.

    Args:
        stored: runs.
        out: folder to write to.
        data: data sets; all that have a change of one option if None.
        scale: of the runs.

    Raises:
        MissingRuns: a data set lacks the default or any change of it.
    """
    here = [run for run in stored if run["scale"] == scale and run["model"] == RESNET]
    options_of = {name: options(here, name) for name in dict.fromkeys(run["data"] for run in here)}
    sets = (
        list(data) if data is not None else [name for name, panels in options_of.items() if panels]
    )
    missing = [name for name in sets if not options_of.get(name)] or ([] if sets else ["any data"])
    if missing:
        needed = [f"{RESNET} ({OURS.method})", "a change of one option of it"]
        raise missing_runs("ablation", needed, missing[0], scale)
    paths = []
    for number, name in enumerate(sets, start=1):
        panels = options_of[name]
        title = f"Ablation of InterpretableSGD, {data_of(name)} at scale {scale}"

        def draw(scheme: Scheme, panels: Any = panels, title: str = title) -> Figure:
            return _page(panels, title, scheme)

        paths += publish(
            out, f"ablation-{number}", title, draw, PlottedNumbers(COLUMNS, _table(panels))
        )
    return paths


def options(runs: Sequence[Stored], data: str) -> dict[str, Values]:
    """By option, the runs of each of its values, the default's first; empty without the default."""
    on_data = [run for run in runs if run["data"] == data]
    default = [run for run in on_data if run["method"] == OURS.method]
    by_option: dict[str, dict[str, list[Stored]]] = {}
    for run in on_data if default else ():
        name, *words = run["method"].split(", ")
        if name == OURS.method and len(words) == 1:
            option, _, value = words[0].partition("=")
            values = by_option.setdefault(option, {_default(default[0], option): default})
            values.setdefault(value, []).append(run)
    return {option: by_option[option] for option in sorted(by_option)}


def _default(run: Stored, option: str) -> str:
    settings = {**run["config"].get("recipe", {}), **run["config"].get("optimizer", {})}
    return f"{settings[option]} (default)" if option in settings else "default"


def _page(panels_of: Mapping[str, Values], title: str, scheme: Scheme) -> Figure:
    rows = [len(values) for values in panels_of.values()]
    figure = canvas(9.5, 1.5 + 0.27 * sum(rows) + 0.12 * len(rows))
    panels = figure.subplots(
        len(rows),
        2,
        squeeze=False,
        sharex="col",
        height_ratios=rows,
        width_ratios=[3, 2],
        gridspec_kw={"hspace": 0.08},
    )
    for (left, right), (option, values) in zip(panels, panels_of.items(), strict=True):
        _points(clean(left), values, "validation_accuracy", scheme.ours, "o", -0.14)
        _points(left, values, "accuracy", rcParams["text.color"], "s", 0.14)
        _points(clean(right), values, "weights_per_class", scheme.quiet, "D", 0)
        left.set_ylabel(option, rotation=0, ha="right", va="center", fontweight="bold")
        left.yaxis.set_label_coords(-0.36, 0.5)
        left.set_yticks(range(len(values)), _ticks(values))
        right.set_yticks(range(len(values)), [""] * len(values))
        right.set_xscale("log")
        right.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        right.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        right.xaxis.set_minor_formatter(NullFormatter())
        for axes in (left, right):
            axes.set_ylim(len(values) - 0.5, -0.5)
    last_left, last_right = panels[-1]
    last_left.set_xlabel("top-1: ● validation, ■ test")
    last_left.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    last_left.xaxis.set_major_locator(MaxNLocator(6))
    last_right.set_xlabel("weights per class")
    figure.suptitle(f"{title}\nmean ± sd over seeds, their number in brackets", fontsize=10.5)
    return figure


def _ticks(values: Values) -> list[str]:
    return [f"{value} ({len(runs)})" for value, runs in values.items()]


def _points(
    axes: Axes, values: Values, measure: str, colour: str, marker: str, below: float
) -> None:
    means, deviations = zip(*(_spread(runs, measure) for runs in values.values()), strict=True)
    rows = np.arange(len(values)) + below
    bars = [deviation or 0.0 for deviation in deviations]
    look: dict[str, Any] = {"color": colour, "markersize": 5, "capsize": 2, "elinewidth": 1}
    axes.errorbar(means, rows, xerr=bars, fmt=marker, **look)


def _spread(runs: Sequence[Stored], measure: str) -> tuple[float, float | None]:
    numbers = np.array([run[measure] for run in runs], dtype=float)
    return float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else None


def _table(panels_of: Mapping[str, Values]) -> Iterator[tuple[Any, ...]]:
    for option, values in panels_of.items():
        for value, runs in values.items():
            for measure, name in MEASURES.items():
                yield option, value, name, *_spread(runs, measure), len(runs)

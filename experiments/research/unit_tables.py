"""Figures of units as tables: means over seeds, beside the dense net of the same seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from experiments import results
from experiments.research.intervals import paired
from experiments.research.methods import DENSE

CONVENTIONS = (("published", "category"), ("published", "touched"), ("matched", "category"))
Figures = Mapping[str, Any]


def read(figures: Figures, quantile: str, convention: str = "category") -> dict[str, float]:
    """The figures of one convention that tables show, formulas by the size of the weight.

    Args:
        figures: of `units.measure`.
        quantile: "published" or "matched".
        convention: "category" or "touched".
    """
    found = figures[quantile][convention]
    formula = found["weight"]
    return {
        "IoU of all": found["mean_iou"],
        "IoU of used": formula["mean_iou"],
        "F1": formula["f1"],
        "precision": formula["precision"],
        "recall": formula["recall"],
        "detectors": found["detectors"],
        "unique": found["unique"],
        "units used": formula["units"],
        "units read": figures["read"],
        "selectivity": figures["selectivity"],
    }


def heads(records: Sequence[results.Record]) -> dict[str, dict[int, Figures]]:
    """By way to get a head, and seed: accuracy, weights a class, and figures of units."""
    found: dict[str, dict[int, Figures]] = {}
    for record in records:
        own = {record["method"]: {**record, "weights": record["weights_per_class"]}}
        own |= {f"dense, post-hoc {head['name']}": head for head in record.get("sparse_heads", ())}
        for name, head in own.items():
            found.setdefault(name, {})[record["seed"]] = head
    return found


def compared(records: Sequence[results.Record], quantile: str, convention: str) -> Table:
    """Means over seeds, with the paired difference from, or ratio to, the dense net."""
    found = heads(records)
    seeds = sorted(found[DENSE.name])
    shown = Table(
        title=f"{quantile} quantile, images by {convention}; n = {len(seeds)} seeds, 95 % intervals",
        box=None,
        title_justify="left",
    )
    shown.add_column("")
    columns = (
        "accuracy",
        "weights/class",
        "minus dense, points",
        "IoU all",
        "/dense",
        "IoU used",
        "/dense",
        "F1",
        "minus dense",
        "precision",
        "recall",
    )
    for name in columns:
        shown.add_column(name, justify="right")
    base = [read(found[DENSE.name][s]["unit_figures"], quantile, convention) for s in seeds]
    for name, by_seed in found.items():
        own = [read(by_seed[s]["unit_figures"], quantile, convention) for s in seeds]
        accuracies = [by_seed[s]["accuracy"] for s in seeds]
        dense = [found[DENSE.name][s]["accuracy"] for s in seeds]
        mean = {key: sum(o[key] for o in own) / len(own) for key in own[0]}
        ratio = {
            key: paired([o[key] / b[key] for o, b in zip(own, base, strict=True)], [0.0] * len(own))
            for key in ("IoU of all", "IoU of used")
        }
        f1 = paired([o["F1"] for o in own], [b["F1"] for b in base])
        others = name != DENSE.name
        shown.add_row(
            name,
            f"{sum(accuracies) / len(accuracies):.1%}",
            f"{sum(by_seed[s]['weights'] for s in seeds) / len(seeds):.1f}",
            paired(accuracies, dense).text(100) if others else "",
            f"{mean['IoU of all']:.3f}",
            ratio["IoU of all"].text().lstrip("+") if others else "",
            f"{mean['IoU of used']:.3f}",
            ratio["IoU of used"].text().lstrip("+") if others else "",
            f"{mean['F1']:.3f}",
            f1.text(digits=3) if others else "",
            f"{mean['precision']:.2f}",
            f"{mean['recall']:.2f}",
        )
    return shown


def compact(head: Figures) -> dict[str, dict[str, float]]:
    """The figures of a head by quantile and convention, to four digits."""
    return {
        f"{quantile}, {convention}": {
            key: round(value, 4)
            for key, value in read(head["unit_figures"], quantile, convention).items()
        }
        for quantile, convention in CONVENTIONS
    }

"""Tables of the questions: accuracy at few weights, and how well units and classes agree with concepts."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.table import Table

from experiments.methods import DENSE
from experiments.store import Stored
from experiments.tables import Paired, paired

COUNT = 5  # weights of a class that heads fitted afterwards are compared at
CUT = f"cut to {COUNT}, refitted"
PATH = f"{DENSE.name}, L1 path at {COUNT}"
POST_HOC = f"{DENSE.name}, best head fitted afterwards at {COUNT}"
CONVENTIONS = (("published", "category"), ("published", "touched"), ("matched", "category"))
Rows = dict[str, dict[int, tuple[float, float]]]
Head = Mapping[str, Any]


def accuracy_at(points: Sequence[Head], count: float = COUNT, key: str = "accuracy") -> float:
    """Accuracy of a path at a number of weights: linear between its neighbours, or the nearest end.

    >>> accuracy_at([{"weights": 4.0, "accuracy": 0.5}, {"weights": 6.0, "accuracy": 0.7}])
    0.6
    """
    ordered = sorted(points, key=lambda point: float(point["weights"]))
    for low, high in pairwise(ordered):
        if low["weights"] <= count <= high["weights"]:
            width = high["weights"] - low["weights"]
            way = (count - low["weights"]) / width if width else 0.0
            return float(low[key] + way * (high[key] - low[key]))
    return float(min(ordered, key=lambda point: abs(point["weights"] - count))[key])


def fitted_afterwards(heads: Sequence[Head]) -> dict[str, tuple[float, float]]:
    """Accuracy and weights of heads on the dense net's units at 5 weights a class; validation images choose.

    Args:
        heads: of a record of the dense net: the points of the L1 path, those cut to 5 and fitted again,
            and the trained head so cut.

    Returns:
        The path read at 5, its best cut point, the trained head, and the best of these three.
    """
    points = [head for head in heads if not head["name"].endswith(CUT)]
    cuts = [head for head in heads if head["name"].endswith(f", {CUT}")]
    path = {key: accuracy_at(points, key=key) for key in ("accuracy", "validation_accuracy")}
    found: dict[str, Head] = {
        PATH: {**path, "weights": COUNT},
        f"{DENSE.name}, L1 path, {CUT}": max(cuts, key=_on_validation),
        f"{DENSE.name}, {CUT}": next(head for head in heads if head["name"] == CUT),
    }
    found[POST_HOC] = max(found.values(), key=_on_validation)
    return {name: (head["accuracy"], head["weights"]) for name, head in found.items()}


def _on_validation(head: Head) -> float:
    return float(head["validation_accuracy"])


def rows(runs: Sequence[Stored], cut_too: Sequence[str] = ()) -> Rows:
    """By way to get a head, and seed: accuracy, and weights a class.

    Args:
        runs: of one problem.
        cut_too: methods whose heads are also cut to 5 weights a class.
    """
    found: Rows = {}
    for run in runs:
        seed, method = run["seed"], run["method"]
        own = {method: (run["accuracy"], run["weights_per_class"])}
        if method in cut_too:
            own[f"{method}, cut to {COUNT}"] = (cut_accuracy(run), COUNT)
        if "sparse_heads" in run.record:
            own |= fitted_afterwards(run["sparse_heads"])
        for name, value in own.items():
            found.setdefault(name, {})[seed] = value
    return found


def cut_accuracy(run: Stored, count: int = COUNT) -> float:
    """Accuracy when every class keeps so many weights, not refitted."""
    curve = run["accuracy_at_weights"]
    return float(curve["accuracy"][curve["weights"].index(count)])


def difference(found: Rows, name: str, other: str) -> Paired | None:
    """Accuracy of one row minus that of another, over the seeds that both have; None without any."""
    seeds = sorted(set(found[name]) & set(found.get(other, {})))
    if not seeds or name == other:
        return None
    return paired([found[name][s][0] for s in seeds], [found[other][s][0] for s in seeds])


def accuracy_table(title: str, runs: Sequence[Stored], cut_too: Sequence[str] = ()) -> Table:
    """One row for each way to get a head."""
    shown = Table(title=title, box=None, title_justify="left")
    shown.add_column("")
    for head in ("n", "accuracy", "weights/class", "minus dense", "minus the best afterwards"):
        shown.add_column(head, justify="right")
    found = rows(runs, cut_too)
    for name, by_seed in found.items():
        accuracy, weights = (sum(each) / len(each) for each in zip(*by_seed.values(), strict=True))
        differences = [difference(found, name, other) for other in (DENSE.name, POST_HOC)]
        texts = [each.text(100) if each else "" for each in differences]
        shown.add_row(name, str(len(by_seed)), f"{accuracy:.1%}", f"{weights:.1f}", *texts)
    return shown


def agreement(head: Head, quantile: str, convention: str = "category") -> dict[str, float]:
    """The figures of one convention that tables show, formulas by the size of the weight.

    Args:
        head: a record, or an entry of its sparse heads, with "agreement".
        quantile: "published" or "matched".
        convention: "category" or "touched".
    """
    found = head["agreement"][quantile][convention]
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
        "units read": head["agreement"]["read"],
        "selectivity": head["agreement"]["selectivity"],
    }


def heads_by_seed(runs: Sequence[Stored]) -> dict[str, dict[int, Head]]:
    """By way to get a head, and seed: accuracy, weights a class, and agreement with concepts."""
    found: dict[str, dict[int, Head]] = {}
    for run in runs:
        own: dict[str, Head] = {run["method"]: {**run.record, "weights": run["weights_per_class"]}}
        fitted = run.record.get("sparse_heads", ())
        own |= {f"{DENSE.name}, post-hoc {head['name']}": head for head in fitted}
        for name, head in own.items():
            found.setdefault(name, {})[run["seed"]] = head
    return found


def agreement_table(runs: Sequence[Stored], quantile: str, convention: str) -> Table:
    """Means over seeds, with the paired difference from, or ratio to, the dense net."""
    found = heads_by_seed(runs)
    seeds = sorted(found[DENSE.name])
    shown = Table(
        title=f"{quantile} quantile, images by {convention}; n = {len(seeds)} seeds, 95 % intervals",
        box=None,
        title_justify="left",
    )
    shown.add_column("")
    columns = ("accuracy", "weights/class", "minus dense, points", "IoU all", "/dense", "IoU used")
    for name in (*columns, "/dense", "F1", "minus dense", "precision", "recall"):
        shown.add_column(name, justify="right")
    base = [agreement(found[DENSE.name][s], quantile, convention) for s in seeds]
    dense = [found[DENSE.name][s]["accuracy"] for s in seeds]
    for name, by_seed in found.items():
        own = [agreement(by_seed[s], quantile, convention) for s in seeds]
        accuracies = [by_seed[s]["accuracy"] for s in seeds]
        weights = [by_seed[s]["weights"] for s in seeds]
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
            f"{sum(weights) / len(weights):.1f}",
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


def scan_table(runs: Sequence[Stored]) -> Table:
    """One row for each run of a scan, beside the dense net of its problem and seed."""
    shown = Table(title="validation images; published quantile", box=None, title_justify="left")
    for name in ("problem", "method", "seed"):
        shown.add_column(name)
    columns = ("accuracy", "weights", "IoU all", "/dense", "IoU used", "/dense", "F1", "dense F1")
    for name in columns:
        shown.add_column(name, justify="right")
    dense = {
        (run["scale"], run["seed"]): agreement(run.record, "published")
        for run in runs
        if run["method"] == DENSE.name
    }
    for run in runs:
        own, base = agreement(run.record, "published"), dense[run["scale"], run["seed"]]
        ratios = [own[key] / base[key] for key in ("IoU of all", "IoU of used")]
        shown.add_row(
            run["scale"],
            run["method"],
            str(run["seed"]),
            f"{run['validation_accuracy']:.1%}",
            f"{run['weights_per_class']:.1f}",
            f"{own['IoU of all']:.3f}",
            f"{ratios[0]:.2f}",
            f"{own['IoU of used']:.3f}",
            f"{ratios[1]:.2f}",
            f"{own['F1']:.3f}",
            f"{base['F1']:.3f}",
        )
    return shown


def compact(run: Stored) -> dict[str, Any]:
    """What a page of results keeps of a run; figures of units to four digits."""
    kept = (
        "data",
        "scale",
        "model",
        "method",
        "seed",
        "split",
        "accuracy",
        "validation_accuracy",
        "weights_per_class",
        "accuracy_at_weights",
        "hash",
    )
    numbers = ("name", "weights", "accuracy", "validation_accuracy")
    return {
        **{key: run[key] for key in kept},
        "units": _rounded(run.record),
        "sparse_heads": [
            {**{key: head[key] for key in numbers}, "units": _rounded(head)}
            for head in run.record.get("sparse_heads", ())
        ],
    }


def _rounded(head: Head) -> dict[str, dict[str, float]]:
    return {
        f"{quantile}, {convention}": {
            key: round(value, 4) for key, value in agreement(head, quantile, convention).items()
        }
        for quantile, convention in CONVENTIONS
    }

"""Tables of the questions: accuracy at few weights, and how well units and classes agree with concepts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
from rich.table import Table

from experiments.methods import DENSE
from experiments.store import Stored
from experiments.tables import Paired, paired, paired_by_seed

COUNT = 5  # weights of a class that heads fitted afterwards are compared at
CUT = f"cut to {COUNT}, refitted"
PATH = f"{DENSE.name}, L1 path at {COUNT}"
GLM_SAGA = f"{DENSE.name}, glm_saga at {COUNT}"
POST_HOC = f"{DENSE.name}, best head fitted afterwards at {COUNT}"
CONVENTIONS = (("published", "category"), ("published", "touched"), ("matched", "category"))
# metrics of QPM, as `concept_agreement` has them
PEERS = {
    "SID@5": "sid",
    "class independence": "class_independence",
    "contrastiveness": "contrastiveness",
}
KEPT = (
    *("data", "scale", "model", "method", "seed", "split", "accuracy", "validation_accuracy"),
    *("weights_per_class", "accuracy_at_weights", "hash"),
)
Head = Mapping[str, Any]
REFERENCES = (
    "SGD, warm-up",
    DENSE.name,
)  # the dense net that others are compared with: the first that ran


def reference(names: Iterable[str]) -> str:
    """The dense net that others are compared with.

    >>> reference(["SGD", "InterpretableSGD"])
    'SGD'
    """
    known = set(names)
    return next((name for name in REFERENCES if name in known), DENSE.name)


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
        The path read at 5, its best cut point, the trained head, glm_saga's path at 5 where there is one,
        and the best of these.
    """
    peers = [head for head in heads if head.get("solver") == "glm_saga"]
    points = [head for head in heads if head not in peers and not head["name"].endswith(CUT)]
    cuts = [head for head in heads if head["name"].endswith(f", {CUT}")]
    path = {key: accuracy_at(points, key=key) for key in ("accuracy", "validation_accuracy")}
    heads_at_count: dict[str, Head] = {
        PATH: {**path, "weights": COUNT},
        f"{DENSE.name}, L1 path, {CUT}": max(cuts, key=_on_validation),
        f"{DENSE.name}, {CUT}": next(head for head in heads if head["name"] == CUT),
    }
    if peers:
        path = {key: accuracy_at(peers, key=key) for key in ("accuracy", "validation_accuracy")}
        heads_at_count[GLM_SAGA] = {**path, "weights": COUNT}
    heads_at_count[POST_HOC] = max(heads_at_count.values(), key=_on_validation)
    return {name: (head["accuracy"], head["weights"]) for name, head in heads_at_count.items()}


def _on_validation(head: Head) -> float:
    return float(head["validation_accuracy"])


def heads_at_few_weights(runs: Sequence[Stored], cut_too: Sequence[str] = ()) -> pd.DataFrame:
    """By way to get a head (`head`) and seed: accuracy, and weights a class.

    Args:
        runs: of one problem.
        cut_too: methods whose heads are also cut to 5 weights a class.
    """
    rows = []
    dense = reference(run["method"] for run in runs)
    for run in runs:
        heads = {run["method"]: (run["accuracy"], run["weights_per_class"])}
        if run["method"] in cut_too:
            curve = run["accuracy_at_weights"]
            cut = curve["accuracy"][curve["weights"].index(COUNT)]
            heads[f"{run['method']}, cut to {COUNT}"] = (cut, COUNT)
        if "sparse_heads" in run.record and run["method"] == dense:
            heads |= fitted_afterwards(run["sparse_heads"])
        rows += [(name, run["seed"], *numbers) for name, numbers in heads.items()]
    return pd.DataFrame(rows, columns=["head", "seed", "accuracy", "weights"])


def difference(heads: pd.DataFrame, name: str, other: str, key: str = "accuracy") -> Paired | None:
    """One way to get a head minus another, over the seeds that both have; None without any, or to itself."""
    rows, others = (heads[heads["head"] == each] for each in (name, other))
    return None if name == other else paired_by_seed(rows, others, key)


def accuracy_table(title: str, runs: Sequence[Stored], cut_too: Sequence[str] = ()) -> Table:
    """One row for each way to get a head."""
    heads = heads_at_few_weights(runs, cut_too)
    table = _table(
        title, "n", "accuracy", "weights/class", "minus dense", "minus the best afterwards"
    )
    for name, rows in heads.groupby("head", sort=False):
        references = (reference(heads["head"]), POST_HOC)
        differences = [difference(heads, str(name), other) for other in references]
        texts = [each.text(100) if each else "" for each in differences]
        mean = rows[["accuracy", "weights"]].mean()
        cells = (str(len(rows)), f"{mean['accuracy']:.1%}", f"{mean['weights']:.1f}")
        table.add_row(str(name), *cells, *texts)
    return table


def agreement(head: Head, quantile: str, convention: str = "category") -> dict[str, float]:
    """The figures of one convention that tables show, formulas by the size of the weight.

    Args:
        head: a record, or an entry of its sparse heads, with "agreement".
        quantile: "published" or "matched".
        convention: "category" or "touched".
    """
    labels = head["agreement"][quantile][convention]
    formula = labels["weight"]
    peers = head["agreement"].get("peers", {})
    return {
        **{name: peers[key] for name, key in PEERS.items() if peers.get(key) is not None},
        "IoU of all": labels["mean_iou"],
        "IoU of used": formula["mean_iou"],
        "F1": formula["f1"],
        "precision": formula["precision"],
        "recall": formula["recall"],
        "detectors": labels["detectors"],
        "unique": labels["unique"],
        "units used": formula["units"],
        "units read": head["agreement"]["read"],
        "selectivity": head["agreement"]["selectivity"],
    }


def agreements(runs: Sequence[Stored], quantile: str, convention: str) -> pd.DataFrame:
    """By way to get a head and seed: accuracy, weights a class, figures, and IoU over that of the dense net."""
    rows = []
    reference_name = reference(run["method"] for run in runs)
    for run in runs:
        by_head: dict[str, Head] = {
            run["method"]: {**run.record, "weights": run["weights_per_class"]}
        }
        fitted_heads = run.record.get("sparse_heads", ()) if run["method"] == reference_name else ()
        for fitted in fitted_heads:
            by_head[f"{DENSE.name}, post-hoc {fitted['name']}"] = fitted
        rows += [
            {
                "head": name,
                "problem": run["scale"],
                "seed": run["seed"],
                "accuracy": head["accuracy"],
                "weights": head["weights"],
                **agreement(head, quantile, convention),
            }
            for name, head in by_head.items()
        ]
    table = pd.DataFrame(rows)
    keys = ["problem", "seed"]
    dense = table[table["head"] == reference_name].set_index(keys)
    base = table[keys].join(dense[["IoU of all", "IoU of used", "F1"]], on=keys)
    for name in ("IoU of all", "IoU of used"):
        table[f"{name}, /dense"] = table[name] / base[name]
    return table.assign(dense_f1=base["F1"])


def agreement_table(runs: Sequence[Stored], quantile: str, convention: str) -> Table:
    """Means over seeds, with the paired difference from, or ratio to, the dense net."""
    heads = agreements(runs, quantile, convention)
    seeds = heads["seed"].nunique()
    table = _table(
        f"{quantile} quantile, images by {convention}; n = {seeds} seeds, 95 % intervals",
        *("accuracy", "weights/class", "minus dense, points", "IoU all", "/dense", "IoU used"),
        *("/dense", "F1", "minus dense", "precision", "recall"),
    )
    for name, rows in heads.groupby("head", sort=False):
        dense = reference(heads["head"])
        points, f1 = (difference(heads, str(name), dense, key) for key in ("accuracy", "F1"))
        ratios = [
            "" if points is None else paired(list(rows[f"{key}, /dense"]), [0.0] * len(rows)).text()
            for key in ("IoU of all", "IoU of used")
        ]
        mean = rows.mean(numeric_only=True)
        table.add_row(
            str(name),
            f"{mean['accuracy']:.1%}",
            f"{mean['weights']:.1f}",
            points.text(100) if points else "",
            f"{mean['IoU of all']:.3f}",
            ratios[0].lstrip("+"),
            f"{mean['IoU of used']:.3f}",
            ratios[1].lstrip("+"),
            f"{mean['F1']:.3f}",
            f1.text(digits=3) if f1 else "",
            f"{mean['precision']:.2f}",
            f"{mean['recall']:.2f}",
        )
    return table


def peers_table(runs: Sequence[Stored]) -> Table:
    """Agreement with the concepts beside the metrics of peers, means over seeds.

    Plausibility is the share of a class's concepts that the units of its formula name.
    """
    figures = agreements(runs, *CONVENTIONS[0])
    table = _table(
        f"peers' metrics; n = {figures['seed'].nunique()} seeds, published quantile",
        *("accuracy", "weights/class", "F1", "IoU used", "plausibility", *PEERS),
    )
    for name, rows in figures.groupby("head", sort=False):
        mean = rows.mean(numeric_only=True)
        shown = ("F1", "IoU of used", "recall", *PEERS)
        cells = [f"{mean[key]:.3f}" if mean.get(key, math.nan) >= 0 else "—" for key in shown]
        table.add_row(str(name), f"{mean['accuracy']:.1%}", f"{mean['weights']:.1f}", *cells)
    return table


def scan_table(runs: Sequence[Stored]) -> Table:
    """One row for each run of a scan, beside the dense net of its problem and seed."""
    form = {
        "accuracy": ".1%",
        "weights": ".1f",
        "IoU of all": ".3f",
        "IoU of all, /dense": ".2f",
        "IoU of used": ".3f",
        "IoU of used, /dense": ".2f",
        "F1": ".3f",
        "dense_f1": ".3f",
    }
    table = _table("validation images; published quantile", "method", "seed", *form)
    for _, row in agreements(runs, "published", "category").iterrows():
        cells = [format(row[key], digits) for key, digits in form.items()]
        table.add_row(row["problem"], row["head"], str(row["seed"]), *cells)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=None, title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    return table


def compact(run: Stored) -> dict[str, Any]:
    """What a page of results keeps of a run; figures of units to four digits."""
    numbers = ("name", "weights", "accuracy", "validation_accuracy")
    return {
        **{key: run[key] for key in KEPT},
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

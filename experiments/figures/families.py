"""What the frontier is made of: each method's accuracy at its numbers of weights per class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from experiments.figures.series import D5, DENSE, FAITHFUL, L1, OURS, UNBIASED, Row
from experiments.paper import published
from experiments.paper.store import Stored

FITTED = {"sparse_heads": "saga", "glm_saga_heads": "glm_saga"}
UNITS = 512  # that the head of the paper's Res18 reads


class Family(NamedTuple):
    """Runs that differ in what sets their number of weights.

    Attributes:
        row: the one that is cut, and the family's colour.
        label: in the legend.
        network: pattern of the nets.
        method: pattern of the methods.
    """

    row: Row
    label: str
    network: str
    method: str

    def holds(self, run: Stored) -> bool:
        """Whether a run is one of the family's."""
        network = re.fullmatch(self.network, run["network"])
        return bool(network and re.fullmatch(self.method, run["method"]))


FAMILIES = (
    Family(OURS, "InterpretableSGD", "resnet18_isgd", r"isgd( block_size=\d+)?"),
    Family(DENSE, "SGD", "resnet18", "sgd"),
    Family(L1, "SGD with L1 on the head", "resnet18_l1", r"l1( strength=\S+)?"),
    Family(D5, "Dynamic-K layer", r"resnet18_d\d+a", "sgd"),
    Family(UNBIASED, UNBIASED.label, "resnet18_isgd", "unbiased"),
    Family(FAITHFUL, FAITHFUL.label, "resnet18_isgd", "faithful"),
)


class Point(NamedTuple):
    """Runs that differ in the seed alone: weights and test accuracy, (seeds,) each."""

    run: str
    weights: np.ndarray
    accuracy: np.ndarray


def points(family: Family, runs: Sequence[Stored]) -> list[Point]:
    """A family's nets as trained, fewest weights first."""
    seeds: dict[str, list[Stored]] = {}
    for run in filter(family.holds, runs):
        seeds.setdefault(f"{run['network']} {run['method']}", []).append(run)
    found = [
        Point(
            name, *(np.array([run[key] for run in some]) for key in ("weights_per_class", "top1"))
        )
        for name, some in seeds.items()
    ]
    return sorted(found, key=lambda point: float(point.weights.mean()))


def cut(family: Family, runs: Sequence[Stored]) -> tuple[list[int], np.ndarray] | None:
    """Numbers of weights, and test accuracy (seeds, k) of the family's first row cut to them.

    Up to the first number that the nets do not have, where a cut changes little.
    """
    row = family.row
    some = [run for run in runs if (run["network"], run["method"]) == (row.network, row.method)]
    if not some:
        return None
    counts = some[0]["accuracy_at_weights"]["weights"]
    have = np.mean([run["weights_per_class"] for run in some])
    shown = sum(count < have for count in counts) + 1
    return counts[:shown], np.array(
        [run["accuracy_at_weights"]["accuracy"][:shown] for run in some]
    )


def heads(runs: Sequence[Stored]) -> Iterator[tuple[str, int, list[float], list[float]]]:
    """Solver, seed, weights and test accuracy of the sparse heads of each dense net."""
    for run in filter(FAMILIES[1].holds, runs):
        for key, solver in FITTED.items():
            if run.record.get(key):
                yield solver, run["seed"], run[key]["weights"], run[key]["accuracy"]


def paper(data: str, scale: str) -> dict[str, tuple[float, float]]:
    """Weights per class and top-1 that the paper gives, where the runs are on its data at its size.

    Its 99 % sparsity of Res18-d5a is about Places365.
    """
    if scale not in ("paper", "code") or data not in published.TOP1:
        return {}
    top1 = {name: value / 100 for name, value in published.TOP1[data].items()}
    found = {"Res18": (float(UNITS), top1["resnet18"])}
    if data == "places365":
        few = UNITS * (1 - published.SPARSITY_D5A / 100)
        found["Res18-d5a"] = few, top1["resnet18_d5a"]
    return found

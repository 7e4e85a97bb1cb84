"""Rows of a table: which stored runs are in one, and what is read from each, the net or a head cut from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from experiments.paper.published import NAMES
from experiments.paper.store import Stored

Runs = Sequence[Stored]


@dataclass(frozen=True)
class Point:
    """A head of a run: mean weights per class, and test accuracy."""

    weights: float
    accuracy: float


def of(runs: Runs, network: str, method: str, data: str) -> list[Stored]:
    """The runs of a row on a data set, one per seed."""
    wanted = (network, method, data)
    return [run for run in runs if (run["network"], run["method"], run["data"]) == wanted]


def title(network: str, method: str) -> str:
    """How a table calls a row.

    >>> title("resnet18_d5a", "sgd"), title("resnet18_isgd", "isgd block_size=3")
    ('Res18-d5a', 'Res18-ISGD block_size=3')
    """
    plain = {"sgd", "l1", "isgd"}
    words = [word for word in method.split() if word not in plain]
    return " ".join([NAMES.get(network, network), *words])


def pruned(run: Stored, count: int = 5) -> Point | None:
    """The head cut to its `count` largest weights a class; None if that was not measured."""
    curve = run["accuracy_at_weights"]
    if count not in curve["weights"]:
        return None
    return Point(count, curve["accuracy"][curve["weights"].index(count)])


def path(run: Stored, key: str) -> list[Point]:
    """Heads fitted on frozen units, strongest penalty first; none if there are none."""
    found = run.record.get(key) or {"weights": [], "accuracy": []}
    return [Point(*pair) for pair in zip(found["weights"], found["accuracy"], strict=True)]


def nearest(points: Sequence[Point], count: float = 5) -> Point | None:
    """The head whose weights per class are nearest by ratio; accuracy has no say in it.

    >>> nearest([Point(2, 0.5), Point(6, 0.6), Point(60, 0.9)])
    Point(weights=6, accuracy=0.6)
    """
    some = [point for point in points if point.weights > 0]
    return min(some, key=lambda point: abs(log(point.weights / count))) if some else None


CUT: dict[str, Callable[[Stored], Point | None]] = {
    "pruned to 5": pruned,
    "saga, nearest 5": lambda run: nearest(path(run, "sparse_heads")),
    "glm_saga, nearest 5": lambda run: nearest(path(run, "glm_saga_heads")),
}


def label_score(run: Stored, name: str) -> Any:
    """A score of the units' labels; None where no concepts were known."""
    return (run["unit_labels"] or {}).get(name)

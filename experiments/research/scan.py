"""The literal grid of question two: what was scanned on validation images, and what is confirmed on test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from experiments.models.classifiers import small_resnet
from experiments.models.scene_nets import local
from experiments.problems import Problem
from experiments.research.methods import DENSE, HEAD_RECIPE, OURS, RECIPE, Method
from experiments.research.problems import resolved
from experiments.research.runs import Run

CONFIRMED = (DENSE, RECIPE, HEAD_RECIPE)


class Row(NamedTuple):
    """A run of the scan, and what the table calls its problem."""

    problem: str
    run: Run


def variant(
    k: float,
    narrowing: tuple[float, float] | None = None,
    inner: Mapping[str, float] | None = None,
    **options: Any,
) -> Method:
    """InterpretableSGD with a block of k units, named by what is not as it is by default.

    >>> variant(3, (0.3, 0.2), shrink=90.0).name
    'K 3, shrink 90, narrows from 0.3 for 0.2'
    """
    words = [f"K {k:g}"] + [f"{name} {value:g}" for name, value in options.items()]
    words += [f"narrows from {narrowing[0]:g} for {narrowing[1]:g}"] if narrowing else []
    words += [f"{name} {value:g}" for name, value in (inner or {}).items()]
    options = {"block_size": k, **options}
    return Method(", ".join(words), "InterpretableSGD", options, narrowing, None, inner or {})


STRIDES = (2, 2, 2)
LAST, BEFORE, SHORTCUT = "maps.5.conv2", "maps.5.conv1", "maps.5.downsample.0"
DETAILED = resolved(epochs=8)
LONG = resolved()
Rows = Sequence[tuple[str, Problem, Sequence[Method]]]
FIRST_SEED: Rows = (
    (
        "24 px, 8 epochs",
        resolved(size=24, net=small_resnet, epochs=8),
        (DENSE, OURS, variant(3), variant(3, horizon=500)),
    ),
    (
        "24 px, 8 epochs, 60 classes",
        resolved(classes=60, size=24, net=small_resnet, epochs=8),
        (DENSE, OURS, variant(3)),
    ),
    (
        "24 px, 8 epochs, 12x12 maps that see 13 px",
        resolved(size=24, net=partial(local, units=64), epochs=8),
        (DENSE, OURS, variant(3)),
    ),
    (
        "48 px, 8 epochs",
        DETAILED,
        (
            DENSE,
            OURS,
            variant(3),
            variant(2.5),
            variant(3, horizon=500),
            variant(3, foresight=0),
            variant(3, sparsity=0.5),
            variant(3, (0.3, 0.3)),
        ),
    ),
    (
        "48 px, 8 epochs, M = 32",
        resolved(net=partial(small_resnet, widths=(16, 32, 32), strides=STRIDES), epochs=8),
        (DENSE, variant(3)),
    ),
    ("48 px, 8 epochs, 60 classes", resolved(classes=60, epochs=8), (DENSE, variant(3))),
    (
        "48 px, 8 epochs, 12x12 maps",
        resolved(net=partial(small_resnet, strides=(2, 2, 1)), epochs=8),
        (DENSE, variant(3, (0.3, 0.2), shrink=90.0)),
    ),
    (
        "48 px, 16 epochs",
        LONG,
        (
            DENSE,
            variant(3, (0.0, 0.4)),
            variant(3, (0.2, 0.2), shrink=60.0),
            variant(3, (0.3, 0.3)),
            variant(3, (0.3, 0.2), shrink=90.0),
            variant(3, (0.4, 0.15), shrink=120.0),
            variant(4, (0.3, 0.2), shrink=60.0),
            variant(3, (0.3, 0.2), {LAST: 64}, shrink=90.0),
            variant(3, (0.3, 0.2), {LAST: 24}, shrink=90.0),
            variant(3, (0.3, 0.2), {LAST: 32, BEFORE: 32, SHORTCUT: 8}, shrink=90.0),
        ),
    ),
)
RATES = tuple(
    Run(replace(DETAILED, lr=lr), replace(DENSE, name=f"dense, lr {lr}"), 0, "validation")
    for lr in (0.1, 0.4)
)
SECOND_SEED: Rows = (("48 px, 16 epochs", LONG, (DENSE, variant(3, (0.3, 0.2), shrink=60.0))),)
SCAN = tuple(
    Row(label, Run(problem, method, seed, "validation"))
    for seed, rows in enumerate((FIRST_SEED, SECOND_SEED))
    for label, problem, methods in rows
    for method in methods
)

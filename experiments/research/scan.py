"""The literal grid of question two: what was scanned on validation images, and what is confirmed on test images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.methods import DENSE, HEAD_RECIPE, OURS, RECIPE, Method
from experiments.models.registry import Model
from experiments.research.problems import CONCEPTS, Problem, resolved
from experiments.run import Run

CONFIRMED = (DENSE, RECIPE, HEAD_RECIPE)


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
    own = {"block_size": k, **options}
    return Method(", ".join(words), "InterpretableSGD", own, narrowing, inner or {})


STRIDES = (2, 2, 2)
LAST, BEFORE, SHORTCUT = "maps.5.conv2", "maps.5.conv1", "maps.5.downsample.0"
SMALL = Model("small_resnet")
DETAILED = resolved("48 px, 8 epochs", epochs=8)
Rows = Sequence[tuple[Problem, Sequence[Method]]]
FIRST_SEED: Rows = (
    (
        resolved("24 px, 8 epochs", size=24, model=SMALL, epochs=8),
        (DENSE, OURS, variant(3), variant(3, horizon=500)),
    ),
    (
        resolved("24 px, 8 epochs, 60 classes", classes=60, size=24, model=SMALL, epochs=8),
        (DENSE, OURS, variant(3)),
    ),
    (
        resolved(
            "24 px, 8 epochs, 12x12 maps that see 13 px",
            size=24,
            model=Model("local", {"units": 64}),
            epochs=8,
        ),
        (DENSE, OURS, variant(3)),
    ),
    (
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
        resolved(
            "48 px, 8 epochs, M = 32",
            model=Model("small_resnet", {"widths": (16, 32, 32), "strides": STRIDES}),
            epochs=8,
        ),
        (DENSE, variant(3)),
    ),
    (resolved("48 px, 8 epochs, 60 classes", classes=60, epochs=8), (DENSE, variant(3))),
    (
        resolved(
            "48 px, 8 epochs, 12x12 maps",
            model=Model("small_resnet", {"strides": (2, 2, 1)}),
            epochs=8,
        ),
        (DENSE, variant(3, (0.3, 0.2), shrink=90.0)),
    ),
    (
        CONCEPTS,
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
    replace(DETAILED, recipe=replace(DETAILED.recipe, lr=lr)).run(
        replace(DENSE, name=f"{DENSE.name}, lr={lr}"), 0, "validation"
    )
    for lr in (0.1, 0.4)
)
SECOND_SEED: Rows = ((CONCEPTS, (DENSE, variant(3, (0.3, 0.2), shrink=60.0))),)
SCAN: tuple[Run, ...] = tuple(
    problem.run(method, seed, "validation")
    for seed, rows in enumerate((FIRST_SEED, SECOND_SEED))
    for problem, methods in rows
    for method in methods
)

"""Ways to train that the questions compare, each a row of plain values, so that a run can be stored under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from experiments import contestants
from experiments.models.classifiers import Classifier
from interpretable_sgd import BlockSizeScheduler, InterpretableSGD, route


@dataclass(frozen=True)
class Method:
    """One way to train a net.

    Attributes:
        name: in tables.
        optimizer: "SGD", "SGD with L1" or "InterpretableSGD".
        options: of InterpretableSGD beside its defaults, or the L1 `strength`.
        narrowing: shares of the run, in [0, 1]: when the block begins to narrow, and for how long it
            does; None for the optimizer's own count of steps.
        dynamic: K of a routed head (Dynamic-K), None for a dense one.
        inner: names of further layers that InterpretableSGD routes, each with its block size.
    """

    name: str
    optimizer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    narrowing: tuple[float, float] | None = None
    dynamic: int | None = None
    inner: Mapping[str, float] = field(default_factory=dict)


DENSE = Method("dense", "SGD")
OURS = Method("InterpretableSGD", "InterpretableSGD")
DYNAMIC = Method("Dynamic-5", "SGD", dynamic=5)
# For short runs on scenes: narrow over the first tenth of a run, and shrink gently from then on.
FAST = Method("InterpretableSGD, fast", "InterpretableSGD", {"horizon": 60, "shrink": 10.0})
PER_SAMPLE = Method(
    "InterpretableSGD, per sample",
    "InterpretableSGD",
    {"mask": "per-sample", "lipschitz": "contribution", "sparsity": 1, "shrink": 30.0},
)
# Units that are concepts, for `small_resnet`: plain SGD until units have formed, at 30 % of the run; the
# head narrows to 3 units a class and the last convolution to 24 of the 576 weights of a unit over the next 20 %;
# half of the run to settle. The shrink is stronger, as it has less of the learning rate left to work with.
RECIPE = Method(
    "recipe",
    "InterpretableSGD",
    {"block_size": 3, "shrink": 90.0},
    narrowing=(0.3, 0.2),
    inner={"maps.5.conv2": 24},
)
HEAD_RECIPE = replace(RECIPE, name="recipe, head alone", inner={})


def l1(strength: float, name: str = "L1") -> Method:
    """SGD whose head has an L1 penalty of this strength."""
    return Method(name, "SGD with L1", {"strength": strength})


Step = Callable[[], None]


def begin(
    method: Method, model: Classifier, lr: float, seed: int, steps: int
) -> tuple[torch.optim.Optimizer, Step]:
    """The optimizer of a model, whose head is routed in place if the method says so.

    Args:
        method: a row.
        model: with initial weights.
        lr: largest learning rate.
        seed: of masks.
        steps: of the whole training.

    Returns:
        The optimizer, and what is to be called after each of its steps.
    """
    if method.dynamic is not None:
        route(model, k=method.dynamic)
    build: Mapping[str, contestants.Build] = {
        "SGD": contestants.sgd,
        "SGD with L1": partial(contestants.l1, **method.options),
        "InterpretableSGD": partial(_ours, method=method),
    }
    optimizer = build[method.optimizer](model, lr, seed)
    if method.narrowing is None:
        return optimizer, _nothing
    start, length = (round(share * steps) for share in method.narrowing)
    return optimizer, BlockSizeScheduler(optimizer, max(1, length), start).step


def _ours(model: Classifier, lr: float, seed: int, method: Method) -> torch.optim.Optimizer:
    if not method.inner:
        return contestants.ours(model, lr, seed, method.options)
    inner = {id(model.get_submodule(name).weight): (name, k) for name, k in method.inner.items()}
    groups = [{"params": [p for p in model.parameters() if id(p) not in inner]}] + [
        {"params": [p], "layers": inner[id(p)][0], "block_size": inner[id(p)][1]}
        for p in model.parameters()
        if id(p) in inner
    ]
    settings = {**contestants.SETTINGS, **method.options}
    return InterpretableSGD(groups, lr=lr, seed=seed, **settings)


def _nothing() -> None:
    pass

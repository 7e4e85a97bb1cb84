"""Ways to train that the questions compare, each a row of plain values, so that a run can be stored under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from experiments import contestants
from experiments.models import Classifier
from interpretable_sgd import BlockSizeScheduler, route


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
    """

    name: str
    optimizer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    narrowing: tuple[float, float] | None = None
    dynamic: int | None = None


DENSE = Method("dense", "SGD")
OURS = Method("InterpretableSGD", "InterpretableSGD")
DYNAMIC = Method("Dynamic-5", "SGD", dynamic=5)


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
        "InterpretableSGD": partial(contestants.ours, options=method.options),
    }
    optimizer = build[method.optimizer](model, lr, seed)
    if method.narrowing is None:
        return optimizer, _nothing
    start, length = (round(share * steps) for share in method.narrowing)
    return optimizer, BlockSizeScheduler(optimizer, max(1, length), start).step


def _nothing() -> None:
    pass

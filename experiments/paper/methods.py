"""How a net is trained, as a line of text: `sgd`, `l1 strength=1e-2`, `isgd block_size=3`, `isgd batch=128`.

The text is what a grid lists, what a record keeps and what a folder is called; it is read here alone.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from experiments import contestants
from experiments.paper.recipes import Recipe
from interpretable_sgd import InterpretableSGD

NARROWING = 0.4  # share of a run over which the block narrows, as docs/optimizer.md advises
OURS: dict[str, dict[str, Any]] = {
    "isgd": {},
    "unbiased": {"correction": "unbiased"},
    "faithful": {
        "mask": "per-sample",
        "probabilities": "paper",
        "lipschitz": "softmax",
        "sparsity": 0.5,
    },
}
NAMES = ("sgd", "l1", *OURS)
RECIPE = ("batch", "momentum", "lr", "weight_decay", "epochs")  # what of a recipe a text may change


@dataclass(frozen=True)
class Method:
    """What a text says.

    Attributes:
        name: one of `NAMES`.
        options: of the optimizer.
        recipe: what it changes in the recipe.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def adapt(self, recipe: Recipe) -> Recipe:
        """The recipe with what the text changes in it."""
        return dataclasses.replace(recipe, **self.recipe)

    def optimizer(
        self, model: nn.Module, recipe: Recipe, steps: int, seed: int
    ) -> torch.optim.Optimizer:
        """The optimizer of a run of so many steps."""
        settings = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
        if self.name == "sgd":
            return contestants.sgd(model, recipe.lr, seed, settings)
        if self.name == "l1":
            return contestants.l1(model, recipe.lr, seed, settings=settings, **self.options)
        options = {**OURS[self.name], **self.options}
        if self.name == "isgd" and "horizon" not in options:
            options["horizon"] = round(NARROWING * steps)
        return contestants.ours(model, recipe.lr, seed, options, settings)


def method(text: str) -> Method:
    """Read a text.

    Raises:
        ValueError: no such method, or no such option, or a value out of its range.

    >>> method("isgd block_size=3 lipschitz=weight batch=128")
    Method(name='isgd', options={'block_size': 3, 'lipschitz': 'weight'}, recipe={'batch': 128})
    """
    name, *words = text.split() or [""]
    if name not in NAMES:
        raise ValueError(f"method must be one of {', '.join(NAMES)}, got {text!r}")
    given = dict(map(_option, words))
    changed = {key: given.pop(key) for key in RECIPE if key in given}
    try:
        _check(name, given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"method {text!r}: {error}") from error
    return Method(name, given, changed)


def _option(word: str) -> tuple[str, Any]:
    key, equals, value = word.partition("=")
    if not (key and equals and value):
        raise ValueError(f"method must have options as name=value, got {word!r}")
    try:
        return key, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return key, value


def _check(name: str, options: Mapping[str, Any]) -> None:
    if name in OURS:
        InterpretableSGD([nn.Parameter(torch.zeros(1))], **{**OURS[name], **options})
    elif set(options) - ({"strength"} if name == "l1" else set()):
        raise ValueError(f"it has no options {', '.join(options)}")

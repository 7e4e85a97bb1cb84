"""The options of a param group, checked at the door."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from interpretable_sgd.optimizer.layer_choice import LayerChoice, Layers

MethodName = Literal["routed", "shared", "algorithm3"]


@dataclass(frozen=True)
class Options:
    """What `InterpretableSGD` and `InterpretableAdamW` take beside the base optimizer's arguments.

    See `InterpretableSGD` for meanings.

    Raises:
        ValueError, TypeError: an option out of its range, or two that contradict one another.
    """

    block_size: float = 5
    layers: Layers = "head"
    method: MethodName = "routed"
    brake: float | None = None
    form: float | None = None
    settle: float | None = None
    pool: int | None = None
    sparsity: float = 0.0
    exploration: float = 0.05
    shrink: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in get_args(MethodName):
            names = ", ".join(map(repr, get_args(MethodName)))
            raise ValueError(f"method must be one of {names}, got {self.method!r}")
        if self.method == "routed":
            self._require("block_size", lambda k: _is_integer(k) and k > 0, "a positive integer")
        self._require("block_size", lambda k: _is_number(k) and k > 0, "positive and finite")
        for name in ("brake", "form", "settle"):
            self._require(
                name,
                lambda limit: limit is None or _is_limit(limit),
                "a number of steps (an int of at least 0), a share of the largest learning rate "
                "(a float in (0, 1)), math.inf or None",
            )
        self._require(
            "pool",
            lambda units: units is None or (_is_integer(units) and units >= self.block_size),
            f"None or an integer of at least block_size, {self.block_size}",
        )
        if self.pool is not None and self.method != "routed":
            raise ValueError(f"pool must be None for method={self.method!r}, got {self.pool}")
        self._require("sparsity", lambda s: _is_number(s) and s <= 1, "at most 1, and finite")
        self._require("exploration", lambda e: _is_finite(e) and e < 1, "in [0, 1)")
        self._require("shrink", _is_finite, "at least 0, and finite")
        self._require("seed", _is_integer, "an integer")
        LayerChoice(self.layers)
        if self.method == "algorithm3" and self.sparsity == 1:
            raise ValueError(
                "sparsity must be below 1 for method='algorithm3', whose exponent is "
                "1 / (1 - sparsity), got 1"
            )
        for first, then in (("brake", "form"), ("form", "settle")):
            before, after = getattr(self, first), getattr(self, then)
            if _same_kind(before, after) and not _in_order(before, after):
                raise ValueError(
                    f"{then} must end after {first}, got {first}={before!r} and {then}={after!r}"
                )

    def _require(self, name: str, holds: Any, wanted: str) -> None:
        value = getattr(self, name)
        if not holds(value):
            raise ValueError(f"{name} must be {wanted}, got {value!r}")

    @classmethod
    def of(cls, group: Mapping[str, Any]) -> "Options":
        """The options in a param group."""
        return cls(**{name: group[name] for name in NAMES})


NAMES = tuple(field.name for field in fields(Options))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_limit(value: Any) -> bool:
    if _is_integer(value):
        return bool(value >= 0)
    return isinstance(value, float) and (0 < value < 1 or value == math.inf)


def _same_kind(form: Any, settle: Any) -> bool:
    return (
        form is not None and settle is not None and isinstance(form, int) == isinstance(settle, int)
    )


def _in_order(form: Any, settle: Any) -> bool:
    return bool(form <= settle if isinstance(form, int) else form >= settle)

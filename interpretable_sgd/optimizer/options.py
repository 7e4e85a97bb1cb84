"""The routing options of a param group: defaults that depend on one another, and checks at the door."""

import math
from typing import Any

from interpretable_sgd.optimizer.scores import SCORES

MASKS = ("shared", "shared-current", "per-sample")
DRAWS = ("independent", "systematic", "unit")
CORRECTIONS = ("none", "unbiased")
PROBABILITIES = ("waterfill", "paper")
NONFINITE = ("allow", "raise")
KEYWORDS = ("head", "all", "none")
KEYS = (
    "block_size",
    "sparsity",
    "layers",
    "lipschitz",
    "mask",
    "draw",
    "correction",
    "probabilities",
    "floor",
    "shrink",
    "horizon",
    "narrowing",
    "foresight",
    "memory",
    "nonfinite",
    "seed",
)
FLOOR, SHRINK, HORIZON = 0.05, 30.0, 250


def completed(group: dict[str, Any]) -> dict[str, Any]:
    """The group with every `None` replaced by the default for its mode, checked.

    Narrowing and shrinking belong to the default mode: shared biased masks. Algorithm 3 as printed
    knows neither; unbiased masks are for speed of descent, where gamma = 1/2 is best (Theorem B).

    Raises:
        ValueError: an option out of its range, or options that contradict one another.
    """
    _check_names(group)
    paper, unbiased = group["probabilities"] == "paper", group["correction"] == "unbiased"
    routing = group["mask"] != "per-sample" and not paper and not unbiased
    defaults = {
        "sparsity": -1.0 if unbiased and not paper else 0.0,
        "floor": 0.0 if paper else FLOOR,
        "shrink": SHRINK if routing else 0.0,
        "horizon": HORIZON if routing else 0,
    }
    group = group | {key: value for key, value in defaults.items() if group[key] is None}
    _check_ranges(group)
    _check_modes(group)
    return group


def _check_names(group: dict[str, Any]) -> None:
    names = {
        "lipschitz": tuple(SCORES),
        "mask": MASKS,
        "draw": DRAWS,
        "correction": CORRECTIONS,
        "probabilities": PROBABILITIES,
        "nonfinite": NONFINITE,
    }
    for key, allowed in names.items():
        if group[key] not in allowed:
            raise ValueError(f"{key} must be one of {', '.join(allowed)}, got {group[key]!r}")


def _check_ranges(group: dict[str, Any]) -> None:
    def check(key: str, within: bool, wanted: str) -> None:
        if not within:
            raise ValueError(f"{key} must be {wanted}, got {group[key]!r}")

    check("block_size", 0 < group["block_size"] < math.inf, "positive and finite")
    check("sparsity", -math.inf < group["sparsity"] <= 1, "at most 1, and finite")
    check("floor", 0 <= group["floor"] < 1, "in [0, 1)")
    check("shrink", 0 <= group["shrink"] < math.inf, "at least 0, and finite")
    horizon = group["horizon"]
    check("horizon", isinstance(horizon, int) and horizon >= 0, "an integer of at least 0 steps")
    check("foresight", 0 <= group["foresight"] < math.inf, "at least 0, and finite")
    check("memory", 0 <= group["memory"] < 1, "in [0, 1)")
    check("seed", isinstance(group["seed"], int), "an integer")


def _check_modes(group: dict[str, Any]) -> None:
    per_sample = group["mask"] == "per-sample"
    if group["probabilities"] == "paper" and group["sparsity"] == 1:
        raise ValueError(
            "sparsity must be below 1 for probabilities='paper', whose exponent is "
            "1 / (1 - sparsity), got 1; use probabilities='waterfill' for exact top-K"
        )
    if group["draw"] == "unit" and not per_sample:
        raise ValueError(f"draw='unit' needs mask='per-sample', got mask={group['mask']!r}")
    if group["draw"] == "systematic" and per_sample:
        raise ValueError("draw='systematic' needs a shared mask, got mask='per-sample'")
    if group["draw"] == "unit" and SCORES[group["lipschitz"]].gated:
        raise ValueError(
            "draw='unit' needs a lipschitz score without weights ('weight', 'softmax' or "
            f"'activation'), got lipschitz={group['lipschitz']!r}"
        )
    if group["draw"] == "unit" and group["probabilities"] == "paper" and group["floor"] > 0:
        raise ValueError(
            "floor must be 0 for draw='unit' with probabilities='paper': a product of two "
            f"factors has no additive floor, got {group['floor']}"
        )
    waterfilled = group["probabilities"] == "waterfill"
    if group["correction"] == "unbiased" and waterfilled and group["floor"] == 0:
        raise ValueError("floor must be above 0 for correction='unbiased', which divides, got 0")

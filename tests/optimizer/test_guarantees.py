"""Every configuration is told its theorem, or why it has none."""

from typing import Any

import pytest
import torch
from torch import nn

from interpretable_sgd import Guarantee, InterpretableSGD
from tests.models import MLP, train

PLAIN = {"shrink": 0.0}
MOMENTUM = {"momentum": 0.9}
UNBIASED = {"correction": "unbiased"}
CURRENT = {"mask": "shared-current"}
PER_SAMPLE = {"mask": "per-sample"}
PAPER = {"probabilities": "paper"}
PI_NORM = "mean_t E|grad F|_Pi^2"

COVERED = {
    "shared, no shrink": (PLAIN, "A", PI_NORM, "eta <= 1 / L"),
    "shared": ({}, "A with shrink", PI_NORM, "eta <= 1 / (4 L)"),
    "shared, exact top-K": (PLAIN | {"sparsity": 1.0}, "A", PI_NORM, "eta <= 1 / L"),
    "systematic": (PLAIN | {"draw": "systematic"}, "A", PI_NORM, "eta <= 1 / L"),
    "paper, shared": (PAPER, "A", PI_NORM, "eta <= 1 / L"),
    "momentum": (PLAIN | MOMENTUM, "F", PI_NORM, "eta <= (1 - b) / L"),
    "unbiased": (UNBIASED, "B", "mean_t E|grad F|^2", "eta <= min_j pi_j / L"),
    "unbiased, current": (UNBIASED | CURRENT, "B", "mean_t E|grad F|^2", "eta <= 1 / L"),
    "unbiased, per sample": (UNBIASED | PER_SAMPLE, "B", "mean_t E|grad F|^2", "eta <= 1 / L"),
    "nothing routed": ({"layers": "none"}, "A", PI_NORM, "eta <= 1 / L"),
    "nothing routed, momentum": (
        {"layers": "none"} | MOMENTUM,
        "F",
        PI_NORM,
        "eta <= (1 - b) / L",
    ),
}
UNCOVERED = {
    "shrink with momentum": (MOMENTUM, "shrinking with momentum is not covered"),
    "current": (CURRENT, r"drawn from the batch that it masks, .* O\(1 / B\) \(Theorem C\)"),
    "current, no shrink": (CURRENT | PLAIN, "drawn from the batch that it masks"),
    "per sample": (PER_SAMPLE, "masks per sample bias .*counterexample CE3"),
    "algorithm 3": (PER_SAMPLE | PAPER, "masks per sample bias .*counterexample CE3"),
    "unbiased, momentum": (UNBIASED | MOMENTUM, "Theorem B is for momentum = 0"),
    "unbiased, shrink": (UNBIASED | {"shrink": 1.0}, "shrinking is not covered with unbiased"),
    "unbiased, paper": (UNBIASED | PAPER, "probability may be 0 or arbitrarily small: set floor"),
    "nesterov": (PLAIN | MOMENTUM | {"nesterov": True}, "Nesterov momentum .* outside Theorems"),
    "dampening": (PLAIN | MOMENTUM | {"dampening": 0.5}, "theorem is for dampening = 0"),
    "maximize": (PLAIN | {"maximize": True}, "maximize ascends F; the theorems speak of descent"),
    "momentum of 1": (PLAIN | {"momentum": 1.0}, "momentum must be below 1"),
    "nothing routed, nesterov": (
        {"layers": "none", "nesterov": True} | MOMENTUM,
        "Nesterov momentum",
    ),
}


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3, 9))]


def promised(*groups: dict[str, Any], **options) -> Guarantee:
    members = [{"params": parameters(), **group} for group in groups or ({},)]
    return InterpretableSGD(members, lr=0.1, **options).guarantee()


@pytest.mark.parametrize(
    ("options", "theorem", "measure", "step"), COVERED.values(), ids=list(COVERED)
)
def test_covered(options: dict, theorem: str, measure: str, step: str) -> None:
    promise = promised(**options)
    assert (promise.theorem, promise.measure) == (theorem, measure)
    assert step in promise.conditions
    assert any("smooth" in condition for condition in promise.conditions)
    assert any("independently, with replacement" in c for c in promise.conditions)
    assert "eta is constant" in promise.conditions
    assert promise.bound.startswith("2 ") and promise.reason
    text = str(promise)
    assert text.startswith(f"Theorem {theorem}: {measure} <= {promise.bound}")
    assert all(f"  if {condition}" in text for condition in promise.conditions)
    assert promise.reason in text


@pytest.mark.parametrize(("options", "reason"), UNCOVERED.values(), ids=list(UNCOVERED))
def test_uncovered(options: dict, reason: str) -> None:
    promise = promised(**options)
    assert promise.theorem is None and promise.conditions == ()
    assert promise.measure == promise.bound == ""
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(promise.reason)
    assert str(promise) == f"no theorem covers this configuration: {promise.reason}"


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        (PLAIN | {"weight_decay": 0.1}, r"F includes (weight_decay / 2) |w|^2"),
        (PLAIN | {"floor": 0.0}, "with floor = 0 a coordinate may starve"),
        (PAPER, "with floor = 0 a coordinate may starve"),
    ],
    ids=str,
)
def test_options_add_conditions(options: dict, condition: str) -> None:
    with_it, without = promised(**options), promised(**PLAIN)
    assert any(condition in stated for stated in with_it.conditions)
    assert not any(condition in stated for stated in without.conditions)


@pytest.mark.parametrize(
    ("key", "value"),
    [("lr", 0.2), ("momentum", 0.5), ("dampening", 0.1), ("maximize", True)],
)
def test_groups_must_share_what_the_theorems_have_one_of(key: str, value: Any) -> None:
    promise = promised({}, {key: value}, **PLAIN)
    assert promise.theorem is None
    assert promise.reason == (
        f"the theorems are for one {key}, but it differs between param groups"
    )


def test_groups_may_share_a_theorem_or_not() -> None:
    assert promised(PLAIN, PLAIN).theorem == "A"
    assert promised(PLAIN, UNBIASED).reason == "param groups fall under different theorems"
    assert promised(PLAIN, {"layers": "none"}).theorem == "A"
    assert promised(UNBIASED, {"layers": "none"}).theorem == "B"
    assert promised(PLAIN, PER_SAMPLE).theorem is None


@pytest.mark.parametrize("mask", ["shared", "per-sample"])
def test_rows_that_fit_into_the_block_are_not_masked(mask: str) -> None:
    promise = promised(mask=mask, block_size=9)
    assert promise.theorem == "A" and "nothing is masked" in promise.reason
    assert "nothing is masked" not in promised(mask=mask, block_size=8.5).reason
    assert "nothing is masked" not in promised(mask=mask, block_size=9, **PAPER).reason


def test_a_tensor_learning_rate_is_compared_by_value() -> None:
    rates = [{"lr": torch.tensor(0.1)}, {"lr": torch.tensor(0.1)}]
    assert promised(*rates, **PLAIN).theorem == "A"


@pytest.mark.filterwarnings("ignore:masks per sample")
def test_what_turns_out_not_to_be_routed_no_longer_counts() -> None:
    """Until the first step every group may own the head; then one group is known to."""
    model = MLP.model()
    groups = [
        {"params": model[0].parameters(), "mask": "per-sample"},
        {"params": model[2].parameters(), "shrink": 0.0},
    ]
    optimizer = InterpretableSGD(groups, lr=0.1)
    assert optimizer.guarantee().theorem is None
    train(model, optimizer, MLP.batches(1))
    assert optimizer.guarantee().theorem == "A"
    optimizer.detach()
    assert "nothing is masked" in optimizer.guarantee().reason


def test_the_guarantee_follows_the_groups() -> None:
    optimizer = InterpretableSGD(parameters(), lr=0.1, shrink=0)
    assert optimizer.guarantee().theorem == "A"
    optimizer.param_groups[0]["momentum"] = 0.9
    assert optimizer.guarantee().theorem == "F"
    optimizer.param_groups[0]["shrink"] = 1.0
    assert optimizer.guarantee().theorem is None

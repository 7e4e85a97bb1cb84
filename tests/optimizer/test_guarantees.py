"""Every configuration is told its theorem, or why it has none."""

from typing import Any

import pytest
import torch
from torch import nn

from interpretable_sgd import Guarantee, InterpretableAdamW, InterpretableSGD
from tests.models import MLP, train

SHARED = {"method": "shared", "block_size": 3, "form": 0}
PLAIN = SHARED | {"shrink": 0.0}
MOMENTUM = {"momentum": 0.9}
NONE = {"layers": "none"}
WHOLE = {"block_size": 9}
SETTLED = {"block_size": 3, "brake": 0, "form": 1, "settle": 2}
ROUTED = {"block_size": 3, "brake": 0, "form": 1, "settle": 100}
PI_NORM, NORM, ON_S = "mean_t E|grad F|_Pi^2", "mean_t E|grad F|^2", "mean_t E|grad_S F|^2"
pytestmark = pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")

COVERED = {
    "shared, no shrink": (PLAIN, "A", PI_NORM, "eta <= 1 / L"),
    "shared": (SHARED, "A with shrink", PI_NORM, "eta <= 1 / (4 L)"),
    "shared, exact top-K": (PLAIN | {"sparsity": 1.0}, "A", PI_NORM, "eta <= 1 / L"),
    "shared, momentum": (PLAIN | MOMENTUM, "F", PI_NORM, "eta is constant"),
    "nothing routed": (NONE, "A", NORM, "eta <= 1 / L; constant, or any schedule"),
    "nothing routed, momentum": (NONE | MOMENTUM, "F", NORM, "eta is constant"),
    "settled": (SETTLED, "H", ON_S, "eta <= 1 / L; constant, or any schedule"),
    "settled, momentum": (SETTLED | MOMENTUM, "H with momentum", ON_S, "eta is constant"),
    "whole rows": (WHOLE, "H", ON_S, "eta <= 1 / L; constant, or any schedule"),
}
UNCOVERED = {
    "shrink with momentum": (SHARED | MOMENTUM, "shrinking with momentum is not covered"),
    "algorithm 3": ({"method": "algorithm3"}, "masks per sample bias .*counterexample CE3"),
    "braked": ({"block_size": 3}, "rows are still formed or routed per sample"),
    "routed": (ROUTED, r"formed or routed .*Theorem C'.*; now \|D\|\^2 / \|grad_S F\|\^2 is about"),
    "nesterov": (PLAIN | MOMENTUM | {"nesterov": True}, "Nesterov momentum .* outside the"),
    "dampening": (PLAIN | MOMENTUM | {"dampening": 0.5}, "theorem is for dampening = 0"),
    "maximize": (PLAIN | {"maximize": True}, "maximize ascends F; the theorems speak of descent"),
    "momentum of 1": (PLAIN | {"momentum": 1.0}, "momentum must be below 1"),
    "nothing routed, nesterov": (NONE | {"nesterov": True} | MOMENTUM, "Nesterov momentum"),
    "settled, nesterov": (SETTLED | {"nesterov": True} | MOMENTUM, "Nesterov momentum"),
}


def trained(kind: type = InterpretableSGD, **options) -> InterpretableSGD:
    """After four steps of a single layer."""
    torch.manual_seed(0)
    layer = nn.Linear(9, 3)
    optimizer = kind(layer.parameters(), **({"lr": 0.1} | options))
    train(layer, optimizer, [(torch.rand(6, 9), torch.arange(6) % 3)] * 4)
    return optimizer


def promised(*groups: dict[str, Any], **options) -> Guarantee:
    """Of a model with a layer in each group, which are all routed."""
    if not groups:
        return trained(**options).guarantee()
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(9, 9) for _ in groups))
    members = [
        {"params": layer.parameters(), "layers": "all", **group}
        for layer, group in zip(model, groups, strict=True)
    ]
    optimizer = InterpretableSGD(members, **({"lr": 0.1} | options))
    train(model, optimizer, [(torch.rand(6, 9), torch.arange(6))] * 4)
    return optimizer.guarantee()


@pytest.mark.parametrize(
    ("options", "theorem", "measure", "step"), COVERED.values(), ids=list(COVERED)
)
def test_covered(options: dict, theorem: str, measure: str, step: str) -> None:
    promise = promised(**options)
    assert (promise.theorem, promise.measure) == (theorem, measure)
    assert any(condition.startswith(step) for condition in promise.conditions)
    assert any("smooth" in condition for condition in promise.conditions)
    assert any("with replacement" in condition for condition in promise.conditions)
    assert promise.formula.startswith("2 ") and promise.reason and callable(promise.bound)
    text = str(promise)
    assert text.startswith(f"Theorem {theorem}: {measure} <= {promise.formula}")
    assert all(f"  if {condition}" in text for condition in promise.conditions)
    assert promise.reason in text and promise.not_said in text
    assert bool(promise.not_said) == theorem.startswith("H")


@pytest.mark.parametrize(("options", "reason"), UNCOVERED.values(), ids=list(UNCOVERED))
def test_uncovered(options: dict, reason: str) -> None:
    promise = promised(**options)
    assert promise.theorem is None and promise.conditions == ()
    assert promise.measure == promise.formula == "" and promise.bound is None
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(promise.reason)
    assert str(promise) == f"no theorem covers this configuration: {promise.reason}"


def test_adamw_has_no_theorem() -> None:
    promise = trained(InterpretableAdamW, lr=0.01, **SETTLED).guarantee()
    assert promise.theorem is None and promise.reason.startswith("the theorems are about SGD")


def test_the_step_of_settling_is_named() -> None:
    assert "since step 2 every row keeps its connections" in promised(**SETTLED).reason
    assert "since step 0 every row" in promised(**WHOLE).reason
    assert promised(**SETTLED).not_said.startswith("derivatives in emptied connections")


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        (
            PLAIN | {"weight_decay": 0.1},
            r"F includes (weight_decay / 2) |w|^2, which is decayed in",
        ),
        (SETTLED | {"weight_decay": 0.1}, r"F includes (weight_decay / 2) |w|^2"),
        (PLAIN | {"exploration": 0.0}, "with exploration = 0 a coordinate may starve"),
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
    assert promised(PLAIN, SETTLED).reason == "routed layers fall under different theorems"
    assert promised(PLAIN, NONE).theorem == "A"
    assert promised(SETTLED, NONE).theorem == "H"
    assert promised(PLAIN, {"method": "algorithm3"}).theorem is None
    assert promised(SETTLED, ROUTED).theorem is None


def test_a_tensor_learning_rate_is_compared_by_value() -> None:
    rates = [{"lr": torch.tensor(0.1)}, {"lr": torch.tensor(0.1)}]
    assert promised(*rates, **PLAIN).theorem == "A"


def test_before_a_first_step_nothing_is_promised() -> None:
    """Until then every group may own the head; then one group is known to."""
    model = MLP.model()
    groups = [
        {"params": model[0].parameters(), "method": "algorithm3"},
        {"params": model[2].parameters(), **PLAIN},
    ]
    optimizer = InterpretableSGD(groups, lr=0.1)
    promise = optimizer.guarantee()
    assert promise.theorem is None
    assert promise.reason == "what is routed is known after the first backward pass"
    train(model, optimizer, MLP.batches(1))
    assert optimizer.guarantee().theorem == "A"


def test_the_guarantee_follows_the_groups() -> None:
    optimizer = trained(**PLAIN)
    assert optimizer.guarantee().theorem == "A"
    optimizer.param_groups[0]["momentum"] = 0.9
    assert optimizer.guarantee().theorem == "F"
    optimizer.param_groups[0]["shrink"] = 1.0
    assert optimizer.guarantee().theorem is None

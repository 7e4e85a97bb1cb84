"""Every configuration is told its theorem, or why it has none."""

import re
from typing import Any

import pytest
import torch
from torch import nn

from interpretable_sgd import Guarantee, InterpretableAdamW, InterpretableSGD
from interpretable_sgd.optimizer import bounds
from tests.models import CLASSES, MLP, train

SHARED = {"method": "shared", "form": 0}
PLAIN = SHARED | {"shrink": 0.0}
SETTLED = {"brake": 0, "form": 0, "settle": 1}
ALGORITHM_3 = {"method": "algorithm3"}
NOTHING = {"layers": "none"}
MOMENTUM = {"momentum": 0.9}
SMALL, SMALLER = "eta <= 1 / L", "eta <= 1 / (4 L)"
SCHEDULE = "eta <= 1 / L; constant, or any schedule with the mean weighted by eta_t"
CONSTANT = "eta is constant"
PI_NORM, GRADIENT = "mean_t E|grad F|_Pi^2", "mean_t E|grad F|^2"
ON_SUPPORT = "mean_t E|grad_S F|^2"

COVERED = {
    "shared, no shrink": (PLAIN, "A", PI_NORM, SMALL, bounds.theorem_a),
    "shared": (SHARED, "A with shrink", PI_NORM, SMALLER, bounds.theorem_a_shrink),
    "shared, exact top-K": (PLAIN | {"sparsity": 1}, "A", PI_NORM, SMALL, bounds.theorem_a),
    "momentum": (PLAIN | MOMENTUM, "F", PI_NORM, CONSTANT, bounds.theorem_f),
    "settled": (SETTLED, "H", ON_SUPPORT, SCHEDULE, bounds.theorem_h),
    "settled, momentum": (
        SETTLED | MOMENTUM,
        "H with momentum",
        ON_SUPPORT,
        CONSTANT,
        bounds.theorem_h_momentum,
    ),
    "nothing routed": (NOTHING, "A", GRADIENT, SCHEDULE, bounds.theorem_a),
    "nothing routed, momentum": (NOTHING | MOMENTUM, "F", GRADIENT, CONSTANT, bounds.theorem_f),
}
UNCOVERED = {
    "shared, shrink with momentum": (SHARED | MOMENTUM, "shrinking with momentum is not covered"),
    "routed, brake": ({}, r"formed or routed per sample, .* grad F - D, .*Theorem C'"),
    "routed, form": ({"brake": 0, "form": 99}, r"formed or routed per sample, .*settle\(\) does"),
    "routed, route": ({"brake": 0, "form": 0, "settle": 99}, r"now \|D\|\^2 / \|grad_S F\|\^2 is"),
    "algorithm 3": (ALGORITHM_3, r"masks per sample bias .*counterexample CE3.*bias_ratio\(\)"),
    "nesterov": (PLAIN | MOMENTUM | {"nesterov": True}, "Nesterov momentum .* outside the theor"),
    "dampening": (PLAIN | MOMENTUM | {"dampening": 0.5}, "theorem is for dampening = 0"),
    "maximize": (PLAIN | {"maximize": True}, "maximize ascends F; the theorems speak of descent"),
    "momentum of 1": (PLAIN | {"momentum": 1.0}, "momentum must be below 1"),
    "nothing routed, nesterov": (NOTHING | MOMENTUM | {"nesterov": True}, "Nesterov momentum"),
}

pytestmark = pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 20), nn.Linear(20, CLASSES))


def promised(*groups: dict[str, Any], steps: int = 3, **options) -> Guarantee:
    """Of an optimizer whose layers are known; every group has a layer of its own."""
    model = net()
    members = [
        {"params": layer.parameters(), "layers": "all"} | group
        for layer, group in zip(model, groups, strict=False)
    ]
    optimizer = InterpretableSGD(members or model.parameters(), lr=0.1, **options)
    train(model, optimizer, MLP.batches(steps))
    return optimizer.guarantee()


@pytest.mark.parametrize(
    ("options", "theorem", "measure", "step", "bound"), COVERED.values(), ids=list(COVERED)
)
def test_covered(options: dict, theorem: str, measure: str, step: str, bound: Any) -> None:
    promise = promised(**options)
    assert (promise.theorem, promise.measure) == (theorem, measure)
    assert step in promise.conditions
    assert any("smooth" in condition for condition in promise.conditions)
    assert any("independent of the past" in c for c in promise.conditions)
    assert (CONSTANT in promise.conditions) == (step != SCHEDULE)
    assert promise.bound is bound and promise.formula.startswith("2 ") and promise.reason
    text = str(promise)
    assert text.startswith(f"Theorem {theorem}: {measure} <= {promise.formula}")
    assert all(f"  if {condition}" in text for condition in promise.conditions)
    assert promise.reason in text and promise.not_said in text
    assert bool(promise.not_said) == theorem.startswith("H")


@pytest.mark.parametrize(("options", "reason"), UNCOVERED.values(), ids=list(UNCOVERED))
def test_uncovered(options: dict, reason: str) -> None:
    promise = promised(**options)
    assert promise.theorem is None and promise.conditions == () and promise.bound is None
    assert promise.measure == promise.formula == promise.not_said == ""
    assert re.search(reason, promise.reason), promise.reason
    assert str(promise) == f"no theorem covers this configuration: {promise.reason}"


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        (PLAIN | {"weight_decay": 0.1}, r"F includes (weight_decay / 2) |w|^2"),
        (SETTLED | {"weight_decay": 0.1}, r"F includes (weight_decay / 2) |w|^2"),
        (PLAIN | {"exploration": 0.0}, "with exploration = 0 a coordinate may starve"),
    ],
    ids=["shared", "settled", "exploration"],
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
    assert promised(PLAIN, NOTHING).theorem == "A"
    assert promised(SETTLED, NOTHING).theorem == "H"
    assert promised(PLAIN, ALGORITHM_3).theorem is None
    assert promised(PLAIN, {}).theorem is None


def test_of_several_settled_layers_the_last_counts() -> None:
    last = promised(SETTLED, {"brake": 0, "form": 0, "settle": 3}, steps=5)
    assert last.theorem == "H" and last.reason.startswith("since step 3 ")


def test_rows_that_fit_into_the_block_are_settled_from_the_start() -> None:
    promise = promised(block_size=20)
    assert promise.theorem == "H" and promise.reason.startswith("since step 0 ")
    assert promised(block_size=19).theorem is None


def test_a_tensor_learning_rate_is_compared_by_value() -> None:
    rates = [{"lr": torch.tensor(0.1)}, {"lr": torch.tensor(0.1)}]
    assert promised(*rates, **PLAIN).theorem == "A"


def test_before_the_first_step_it_is_not_known_what_is_routed() -> None:
    assert promised(steps=0).reason == "what is routed is known after the first backward pass"
    assert promised(steps=0, **NOTHING).theorem == "A"


def test_what_turns_out_not_to_be_routed_does_not_count() -> None:
    """Before the first step every group may own the head; then one group is known to."""
    model = net()
    groups = [
        {"params": model[0].parameters(), "method": "algorithm3"},
        {"params": model[1].parameters()} | PLAIN,
    ]
    optimizer = InterpretableSGD(groups, lr=0.1)
    assert optimizer.guarantee().theorem is None
    train(model, optimizer, MLP.batches(1))
    assert optimizer.guarantee().theorem == "A"


def test_the_guarantee_follows_the_groups() -> None:
    model = net()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **PLAIN)
    train(model, optimizer, MLP.batches(1))
    assert optimizer.guarantee().theorem == "A"
    optimizer.param_groups[0]["momentum"] = 0.9
    assert optimizer.guarantee().theorem == "F"
    optimizer.param_groups[0]["shrink"] = 1.0
    assert optimizer.guarantee().theorem is None


def test_the_guarantee_follows_the_phases() -> None:
    model = net()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, MLP.batches(2))
    assert optimizer.guarantee().theorem is None
    optimizer.settle()
    train(model, optimizer, MLP.batches(1))
    promise = optimizer.guarantee()
    assert promise.theorem == "H" and promise.reason.startswith("since step 3 ")


def test_the_bias_that_is_told_is_of_the_running_means() -> None:
    """|D|^2 / |grad_S F|^2, S what has a weight, D = grad_S F - E u."""
    model = net()
    options = {"brake": 0, "form": 0, "settle": 99, "block_size": 2}
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **options)
    train(model, optimizer, MLP.batches(4))
    dense, routed, _ = optimizer.state[model[1].weight]["moments"]
    active = model[1].weight.detach() != 0
    missed = (dense - routed)[active].square().sum() / dense[active].square().sum()
    (told,) = re.findall(r"\|grad_S F\|\^2 is about (\S+?)\. ", optimizer.guarantee().reason)
    assert float(told) == pytest.approx(float(missed), rel=0.05)
    assert missed > 0.01


@pytest.mark.parametrize("options", [{}, SETTLED, PLAIN], ids=["brake", "settled", "shared"])
def test_adamw_has_none(options: dict) -> None:
    model = net()
    optimizer = InterpretableAdamW(model.parameters(), lr=0.1, **options)
    train(model, optimizer, MLP.batches(2))
    assert optimizer.guarantee().theorem is None
    assert "the theorems are about SGD" in optimizer.guarantee().reason

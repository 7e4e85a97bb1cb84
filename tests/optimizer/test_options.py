"""Bad options are refused by name and value; defaults follow the mode."""

import math
import re
from typing import Any

import pytest
import torch
from torch import nn

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer.options import KEYS, completed

PAPER = {"probabilities": "paper"}
UNIT = {"draw": "unit"}
PER_SAMPLE = {"mask": "per-sample"}
UNBIASED = {"correction": "unbiased"}
SCORES = "gate, weight, softmax, activation, contribution"
BAD = [
    ({"block_size": 0}, "block_size must be positive and finite, got 0"),
    ({"block_size": -3}, "block_size must be positive and finite, got -3"),
    ({"block_size": math.inf}, "block_size must be positive and finite, got inf"),
    ({"block_size": math.nan}, "block_size must be positive and finite, got nan"),
    ({"sparsity": 1.5}, "sparsity must be at most 1, and finite, got 1.5"),
    ({"sparsity": -math.inf}, "sparsity must be at most 1, and finite, got -inf"),
    ({"sparsity": math.nan}, "sparsity must be at most 1, and finite, got nan"),
    ({"floor": 1.0}, "floor must be in [0, 1), got 1.0"),
    ({"floor": -0.1}, "floor must be in [0, 1), got -0.1"),
    ({"shrink": -1.0}, "shrink must be at least 0, and finite, got -1.0"),
    ({"shrink": math.inf}, "shrink must be at least 0, and finite, got inf"),
    ({"horizon": -1}, "horizon must be an integer of at least 0 steps, got -1"),
    ({"horizon": 2.5}, "horizon must be an integer of at least 0 steps, got 2.5"),
    ({"foresight": -1}, "foresight must be at least 0, and finite, got -1"),
    ({"foresight": math.inf}, "foresight must be at least 0, and finite, got inf"),
    ({"memory": 1.0}, "memory must be in [0, 1), got 1.0"),
    ({"memory": -0.5}, "memory must be in [0, 1), got -0.5"),
    ({"nonfinite": "skip"}, "nonfinite must be one of allow, raise, got 'skip'"),
    ({"seed": 0.5}, "seed must be an integer, got 0.5"),
    ({"lipschitz": "hessian"}, f"lipschitz must be one of {SCORES}, got 'hessian'"),
    ({"mask": "batch"}, "mask must be one of shared, shared-current, per-sample, got 'batch'"),
    ({"draw": "topk"}, "draw must be one of independent, systematic, unit, got 'topk'"),
    ({"correction": True}, "correction must be one of none, unbiased, got True"),
    ({"probabilities": "l1"}, "probabilities must be one of waterfill, paper, got 'l1'"),
    (
        PAPER | {"sparsity": 1},
        "sparsity must be below 1 for probabilities='paper', whose exponent is 1 / (1 - sparsity), "
        "got 1; use probabilities='waterfill' for exact top-K",
    ),
    (UNIT, "draw='unit' needs mask='per-sample', got mask='shared'"),
    (
        UNIT | {"mask": "shared-current"},
        "draw='unit' needs mask='per-sample', got mask='shared-current'",
    ),
    (
        PER_SAMPLE | UNIT,
        "draw='unit' needs a lipschitz score without weights ('weight', 'softmax' or 'activation'), "
        "got lipschitz='gate'",
    ),
    (
        PER_SAMPLE | UNIT | PAPER | {"lipschitz": "weight", "floor": 0.1},
        "floor must be 0 for draw='unit' with probabilities='paper': a product of two factors has no "
        "additive floor, got 0.1",
    ),
    (
        PER_SAMPLE | {"draw": "systematic"},
        "draw='systematic' needs a shared mask, got mask='per-sample'",
    ),
    (
        UNBIASED | {"floor": 0.0},
        "floor must be above 0 for correction='unbiased', which divides, got 0",
    ),
]
OF_TORCH = [
    ({"lr": -0.1}, "Invalid learning rate: -0.1"),
    ({"lr": torch.tensor([0.1, 0.2])}, "Tensor lr must be 1-element"),
    ({"momentum": -0.5}, "Invalid momentum value: -0.5"),
    ({"weight_decay": -0.5}, "Invalid weight_decay value: -0.5"),
    ({"nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
    (
        {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
        "Nesterov momentum requires a momentum and zero dampening",
    ),
]
BAD = [(options, f"^{re.escape(message)}$") for options, message in BAD]
named = [pytest.param(*bad, id=str(bad[0])) for bad in BAD]


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.ones(3))


@pytest.mark.parametrize(("options", "message"), [*BAD, *OF_TORCH], ids=str)
def test_constructor_refuses(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InterpretableSGD([parameter()], **options)


@pytest.mark.parametrize(("options", "message"), [*BAD, *OF_TORCH], ids=str)
def test_options_are_checked_before_parameters(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InterpretableSGD(None, **options)


@pytest.mark.parametrize(("options", "message"), named)
def test_param_groups_are_checked_too(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InterpretableSGD([{"params": [parameter()]}, {"params": [parameter()], **options}])


@pytest.mark.parametrize(("options", "message"), named)
def test_a_refused_group_leaves_the_optimizer_as_it_was(options: dict, message: str) -> None:
    optimizer = InterpretableSGD([parameter()], lr=0.1)
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [parameter()], **options})
    assert len(optimizer.param_groups) == 1
    last = parameter()
    optimizer.add_param_group({"params": [last], "layers": "none", "block_size": 2})
    assert optimizer.param_groups[1]["block_size"] == 2
    assert optimizer.param_groups[1]["layers"] == "none"


def test_routing_options_are_keyword_only() -> None:
    with pytest.raises(TypeError, match="positional arguments but 8 were given"):
        InterpretableSGD([parameter()], 0.1, 0.0, 0.0, 0.0, False, 5)  # type: ignore[misc]


ACCEPTED = [
    {"block_size": 0.5},
    {"block_size": 1e9},
    {"sparsity": 1},
    {"sparsity": -1000.0},
    {"floor": 0.0},
    {"floor": 0.999},
    {"foresight": 0},
    {"memory": 0.0},
    {"nonfinite": "raise"},
    {"seed": -(2**70)},
    {"horizon": 0, "shrink": 0},
    UNBIASED,
    PAPER,
    PAPER | {"mask": "shared-current"},
    PER_SAMPLE | UNIT | {"lipschitz": "softmax"},
    PER_SAMPLE | UNIT | PAPER | {"lipschitz": "activation"},
]


@pytest.mark.filterwarnings("ignore:masks per sample")
@pytest.mark.parametrize("options", ACCEPTED, ids=str)
def test_the_ends_of_every_range_train(options: dict) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(12, 3)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1, **options)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(layer(torch.rand(9, 12)), torch.arange(9) % 3).backward()
        optimizer.step()
    (units,) = optimizer.routed_units().values()
    for tensor in (layer.weight, units.probabilities, units.selected):
        assert tensor.isfinite().all()
    assert units.probabilities.min() >= 0 and units.probabilities.max() <= 1


DEFAULTS = [
    ({}, {"sparsity": 0.0, "floor": 0.05, "shrink": 30.0, "horizon": 250}),
    (
        {"mask": "shared-current"},
        {"sparsity": 0.0, "floor": 0.05, "shrink": 30.0, "horizon": 250},
    ),
    (UNBIASED, {"sparsity": -1.0, "floor": 0.05, "shrink": 0.0, "horizon": 0}),
    (PAPER, {"sparsity": 0.0, "floor": 0.0, "shrink": 0.0, "horizon": 0}),
    (PER_SAMPLE, {"sparsity": 0.0, "floor": 0.05, "shrink": 0.0, "horizon": 0}),
    (PER_SAMPLE | PAPER, {"sparsity": 0.0, "floor": 0.0, "shrink": 0.0, "horizon": 0}),
    ({"shrink": 2.0, "horizon": 7}, {"sparsity": 0.0, "shrink": 2.0, "horizon": 7}),
    (UNBIASED | {"sparsity": 0.2}, {"sparsity": 0.2}),
]


@pytest.mark.parametrize(("options", "expected"), DEFAULTS, ids=str)
def test_defaults_follow_the_mode(options: dict, expected: dict) -> None:
    groups = [
        InterpretableSGD([parameter()], **options).param_groups[0],
        InterpretableSGD([{"params": [parameter()], **options}]).param_groups[0],
    ]
    for group in groups:
        assert {key: group[key] for key in expected} == expected


OF_EVERY_MODE = {
    "block_size": 5,
    "layers": "head",
    "lipschitz": "gate",
    "mask": "shared",
    "draw": "independent",
    "correction": "none",
    "probabilities": "waterfill",
    "foresight": 10,
    "memory": 0.9,
    "nonfinite": "allow",
    "seed": 0,
}


def test_defaults_are_the_documented_ones() -> None:
    group = InterpretableSGD([parameter()]).param_groups[0]
    documented = {
        "lr": 1e-3,
        "momentum": 0,
        "dampening": 0,
        "weight_decay": 0,
        "nesterov": False,
        "maximize": False,
    } | OF_EVERY_MODE
    assert {key: group[key] for key in documented} == documented


def test_every_group_has_every_default_and_no_object() -> None:
    layer = nn.Linear(3, 2)
    optimizer = InterpretableSGD(
        [{"params": [layer.weight]}, {"params": [layer.bias], "layers": lambda name, module: True}],
        layers=layer,
    )
    plain = (int, float, bool, str, list, type(None))
    for group in optimizer.param_groups:
        assert set(optimizer.defaults) <= set(group)
        assert set(KEYS) <= set(group)
        rest = {key: value for key, value in group.items() if key != "params"}
        assert all(isinstance(value, plain) for value in rest.values())
    assert all(isinstance(value, plain) for value in optimizer.defaults.values())


def test_completing_twice_changes_nothing() -> None:
    group: dict[str, Any] = {key: None for key in KEYS} | OF_EVERY_MODE
    once = completed(group)
    assert completed(once) == once
    assert group["sparsity"] is None, "the caller's dict is not written to"

"""Bad options are refused by name and value, wherever they come in."""

import inspect
import math
import re
from typing import Any

import pytest
import torch
from torch import nn

from interpretable_sgd import InterpretableAdamW, InterpretableSGD
from interpretable_sgd.optimizer.options import NAMES, Options

SHARED = {"method": "shared"}
ALGORITHM3 = {"method": "algorithm3"}
LIMIT = (
    "must be a number of steps (an int of at least 0), a share of the largest learning rate (a float "
    "in (0, 1)), math.inf or None, got"
)
BAD = [
    ({"block_size": 0}, "block_size must be a positive integer, got 0"),
    ({"block_size": -3}, "block_size must be a positive integer, got -3"),
    ({"block_size": 2.5}, "block_size must be a positive integer, got 2.5"),
    ({"block_size": True}, "block_size must be a positive integer, got True"),
    ({"block_size": "5"}, "block_size must be a positive integer, got '5'"),
    (SHARED | {"block_size": 0}, "block_size must be positive and finite, got 0"),
    (SHARED | {"block_size": math.inf}, "block_size must be positive and finite, got inf"),
    (SHARED | {"block_size": math.nan}, "block_size must be positive and finite, got nan"),
    ({"method": "paper"}, "method must be one of 'routed', 'shared', 'algorithm3', got 'paper'"),
    ({"form": -1}, f"form {LIMIT} -1"),
    ({"form": 2.5}, f"form {LIMIT} 2.5"),
    ({"form": 1.0}, f"form {LIMIT} 1.0"),
    ({"form": 0.0}, f"form {LIMIT} 0.0"),
    ({"form": True}, f"form {LIMIT} True"),
    ({"settle": -5}, f"settle {LIMIT} -5"),
    ({"settle": -math.inf}, f"settle {LIMIT} -inf"),
    ({"settle": math.nan}, f"settle {LIMIT} nan"),
    ({"settle": "cosine"}, f"settle {LIMIT} 'cosine'"),
    ({"brake": 1.5}, f"brake {LIMIT} 1.5"),
    ({"form": 10, "settle": 5}, "settle must end after form, got form=10 and settle=5"),
    ({"form": 0.5, "settle": 0.8}, "settle must end after form, got form=0.5 and settle=0.8"),
    ({"brake": 9, "form": 5}, "form must end after brake, got brake=9 and form=5"),
    ({"pool": 4}, "pool must be None or an integer of at least block_size, 5, got 4"),
    ({"pool": 9.5}, "pool must be None or an integer of at least block_size, 5, got 9.5"),
    (SHARED | {"pool": 9}, "pool must be None for method='shared', got 9"),
    ({"sparsity": 1.5}, "sparsity must be at most 1, and finite, got 1.5"),
    ({"sparsity": -math.inf}, "sparsity must be at most 1, and finite, got -inf"),
    ({"sparsity": math.nan}, "sparsity must be at most 1, and finite, got nan"),
    ({"exploration": 1.0}, "exploration must be in [0, 1), got 1.0"),
    ({"exploration": -0.1}, "exploration must be in [0, 1), got -0.1"),
    ({"shrink": -1.0}, "shrink must be at least 0, and finite, got -1.0"),
    ({"shrink": math.inf}, "shrink must be at least 0, and finite, got inf"),
    ({"seed": 0.5}, "seed must be an integer, got 0.5"),
    (
        ALGORITHM3 | {"sparsity": 1},
        "sparsity must be below 1 for method='algorithm3', whose exponent is 1 / (1 - sparsity), got 1",
    ),
]
OF_TORCH = [
    ({"lr": -0.1}, "Invalid learning rate: -0.1"),
    ({"lr": torch.tensor([0.1, 0.2])}, "Tensor lr must be 1-element"),
    ({"weight_decay": -0.5}, "Invalid weight_decay value: -0.5"),
]
OF_SGD = [
    ({"momentum": -0.5}, "Invalid momentum value: -0.5"),
    ({"nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
]
BAD = [(options, f"^{re.escape(message)}$") for options, message in BAD]
named = [pytest.param(*bad, id=str(bad[0])) for bad in BAD]
kinds = pytest.mark.parametrize("kind", [InterpretableSGD, InterpretableAdamW])


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.ones(3))


@kinds
@pytest.mark.parametrize(("options", "message"), [*BAD, *OF_TORCH], ids=str)
def test_constructors_refuse(options: dict, message: str, kind: type) -> None:
    with pytest.raises(ValueError, match=message):
        kind([parameter()], **options)


@pytest.mark.parametrize(("options", "message"), OF_SGD, ids=str)
def test_what_sgd_refuses_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InterpretableSGD([parameter()], **options)


@pytest.mark.parametrize(("options", "message"), [*BAD, *OF_TORCH, *OF_SGD], ids=str)
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


@pytest.mark.parametrize(
    "gone",
    [
        "lipschitz",
        "mask",
        "draw",
        "probabilities",
        "floor",
        "horizon",
        "memory",
        "model",
        "lookahead",
    ],
)
def test_there_are_no_other_options(gone: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{gone}'"):
        InterpretableSGD([parameter()], **{gone: 1})


ACCEPTED = [
    {"block_size": 1},
    {"block_size": 10**9},
    {"form": 0, "settle": 0},
    {"form": 2, "settle": math.inf},
    {"form": math.inf},
    {"form": 0.9, "settle": 0.9},
    {"form": 3, "settle": 0.5},
    {"brake": 0, "form": 0, "settle": 0},
    {"brake": 2, "form": 2, "settle": 2},
    {"brake": 0.9, "form": 0.8, "settle": 0.7},
    SHARED | {"block_size": 0.5},
    SHARED | {"sparsity": 1},
    SHARED | {"sparsity": -1000.0},
    SHARED | {"exploration": 0.0},
    SHARED | {"exploration": 0.999},
    SHARED | {"form": 0, "shrink": 0},
    SHARED | {"form": 0.5},
    {"seed": -(2**70)},
    ALGORITHM3 | {"sparsity": 0.999},
]


@kinds
@pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")
@pytest.mark.parametrize("options", ACCEPTED, ids=str)
def test_the_ends_of_every_range_train(options: dict, kind: type) -> None:
    layer = nn.Linear(12, 3)
    optimizer = kind(layer.parameters(), lr=0.1, **options)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(layer(torch.rand(9, 12)), torch.arange(9) % 3).backward()
        optimizer.step()
    (units,) = optimizer.routed_units().values()
    assert layer.weight.isfinite().all()
    assert units.strength.isfinite().all() and (units.strength >= 0).all()
    assert repr(optimizer)


DOCUMENTED = {
    "block_size": 5,
    "layers": "head",
    "method": "routed",
    "brake": None,
    "form": None,
    "settle": None,
    "pool": None,
    "sparsity": 0.0,
    "exploration": 0.05,
    "shrink": 30.0,
    "seed": 0,
}
OF_THE_BASE = {
    InterpretableSGD: torch.optim.SGD,
    InterpretableAdamW: torch.optim.AdamW,
}


@kinds
def test_defaults_are_the_documented_ones_and_the_bases(kind: type) -> None:
    group = kind([parameter()]).param_groups[0]
    base = OF_THE_BASE[kind]([parameter()]).param_groups[0]
    expected = {key: value for key, value in base.items() if key != "params"} | DOCUMENTED
    own = {key: value for key, value in group.items() if key not in ("params", "phase")}
    assert own == expected
    assert set(NAMES) == set(DOCUMENTED), "ten options beside the base optimizer's own"


@kinds
def test_signatures_are_the_bases_and_the_options(kind: type) -> None:
    ours, theirs = (inspect.signature(k.__init__).parameters for k in (kind, OF_THE_BASE[kind]))
    assert set(ours) == set(theirs) | set(DOCUMENTED)
    for name, own in theirs.items():
        assert ours[name].default == own.default, name
    assert list(ours)[: list(ours).index("block_size")] == [
        name for name, own in theirs.items() if own.kind is not own.KEYWORD_ONLY
    ]


def test_a_group_has_options_of_its_own() -> None:
    """Every option, whatever the constructor said."""
    own: dict[str, Any] = {
        "block_size": 2,
        "layers": "none",
        "method": "shared",
        "brake": 5,
        "form": 7,
        "settle": 9,
        "pool": None,  # which the method below has not
        "sparsity": 0.5,
        "exploration": 0.1,
        "shrink": 2.0,
        "seed": 4,
    }
    assert set(own) == set(NAMES)
    groups = [{"params": [parameter()], **own}, {"params": [parameter()]}]
    first, second = InterpretableSGD(groups, lr=0.1).param_groups
    assert {key: first[key] for key in own} == own
    assert {key: second[key] for key in own} == DOCUMENTED


def test_options_of_a_group() -> None:
    group = {"params": [], "lr": 0.1} | DOCUMENTED | {"block_size": 3}
    assert Options.of(group) == Options(block_size=3)

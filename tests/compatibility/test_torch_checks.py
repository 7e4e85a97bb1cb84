"""The cases that torch ships for its own optimizers, on InterpretableSGD."""

import copy
import io
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.testing._internal.common_optimizers import (
    ErrorOptimizerInput,
    OptimizerErrorEnum,
    OptimizerInput,
    optim_db,
)

from interpretable_sgd import InterpretableSGD
from tests.models import METHODS, MLP, same, train, weights

(INFO,) = [info for info in optim_db if info.optim_cls is SGD]
INPUTS: list[OptimizerInput] = INFO.optim_inputs_func(device="cpu")
ERRORS: list[ErrorOptimizerInput] = INFO.optim_error_inputs_func(device="cpu", dtype=torch.float32)
KERNELS = {"for-loop": {"foreach": False}, "foreach": {"foreach": True}}
NOT_APPLICABLE = {
    "capturable": "torch.optim.SGD has no such argument",
    "fused on CUDA, peak memory of foreach, mixed devices": "need a GPU; marked gpu elsewhere or not run",
    "step as a tensor, loading a step that is no tensor": "SGD keeps no step; `steps` is an int",
    "sparse gradients of a routed weight": "an error: a mask is dense",
    "complex routed weights": "an error where chosen; else plain SGD",
}
inputs = pytest.mark.parametrize("given", INPUTS, ids=[given.desc for given in INPUTS])
ways = pytest.mark.parametrize(
    "way", [METHODS[name] for name in ("route", "settle", "shared, narrowing")]
)
kernels = pytest.mark.parametrize("kernel", KERNELS.values(), ids=list(KERNELS))


def check(what: str, how: str) -> pytest.MarkDecorator:
    return pytest.mark.row("Torch's own checks", what, how)


def routed(
    given: OptimizerInput, kernel: dict[str, Any], way: dict[str, Any]
) -> tuple[nn.Module, InterpretableSGD]:
    model = MLP.model()
    options = way | copy.deepcopy(given.kwargs) | kernel
    return model, InterpretableSGD(model.parameters(), **options)


def test_torch_lists_what_sgd_supports() -> None:
    """What is listed as not applicable is what torch says of SGD."""
    assert not INFO.has_capturable_arg and "capturable" in NOT_APPLICABLE
    assert set(INFO.supported_impls) >= {"foreach", "differentiable"}
    assert INFO.supports_sparse and INFO.supports_param_groups and len(INPUTS) >= 9


@check("constructor errors", "torch's messages")
@pytest.mark.parametrize("wrong", ERRORS, ids=[e.optimizer_error_input.desc for e in ERRORS])
def test_errors(wrong: ErrorOptimizerInput) -> None:
    given = wrong.optimizer_error_input
    assert wrong.error_on is OptimizerErrorEnum.CONSTRUCTION_ERROR
    params = given.params if given.params is not None else [nn.Parameter(torch.zeros(2, 3))]
    warns = issubclass(wrong.error_type, Warning)
    catcher = pytest.warns if warns else pytest.raises
    with catcher(wrong.error_type, match=wrong.error_regex):
        InterpretableSGD(params, **given.kwargs)


@check("every input, K >= M", "`torch.optim.SGD` bit for bit")
@inputs
@kernels
def test_inputs_that_mask_nothing_are_sgd(given: OptimizerInput, kernel: dict) -> None:
    results = []
    for kind, keep in ((InterpretableSGD, {"block_size": 1000}), (SGD, {})):
        model = MLP.model()
        optimizer = kind(model.parameters(), **copy.deepcopy(given.kwargs), **kernel, **keep)
        train(model, optimizer, MLP.batches())
        results.append(weights(model))
    assert same(*results)


@check("foreach", "the for-loop's values, routed")
@inputs
@ways
def test_foreach_matches_the_loop(way: dict, given: OptimizerInput) -> None:
    results = []
    for kernel in KERNELS.values():
        model, optimizer = routed(given, kernel, way)
        train(model, optimizer, MLP.batches(6))
        (units,) = optimizer.routed_units().values()
        results.append([*weights(model), units.probabilities, units.strength])
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right)


@check("direction of progress, with each of torch's schedules for SGD", "the loss goes down, or up")
@kernels
@pytest.mark.parametrize("schedule", range(len(INFO.scheduler_inputs)))
@ways
@pytest.mark.parametrize("maximize", [False, True])
def test_direction(maximize: bool, way: dict, schedule: int, kernel: dict) -> None:
    model = MLP.model()
    options = {"lr": 0.05, "maximize": maximize, "shrink": 0} | way | kernel
    optimizer = InterpretableSGD(model.parameters(), **options)
    schedulers = [build(optimizer) for build in INFO.scheduler_inputs[schedule]]
    (x, y) = MLP.batches(1)[0]
    losses = []

    def after() -> None:
        losses.append(nn.functional.cross_entropy(model(x), y).item())
        for scheduler in schedulers:
            plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            scheduler.step(*([losses[-1]] if plateau else []))

    train(model, optimizer, [(x, y)] * 20, after)
    # What is cut is cut in the second step.
    assert losses[-1] > losses[2] if maximize else losses[-1] < losses[2]


@check(
    "no gradients, or zero gradients",
    "a step changes nothing where nothing decays, shrinks or fades",
)
@inputs
@kernels
@pytest.mark.parametrize("way", [METHODS[name] for name in ("brake", "form", "shared")])
def test_steps_without_gradients(way: dict, given: OptimizerInput, kernel: dict) -> None:
    still = {"weight_decay": 0.0, "momentum": 0.0, "nesterov": False, "shrink": 0}
    model, optimizer = routed(given, kernel | still, way)
    before = weights(model)
    optimizer.step()
    train(lambda x: 0 * model(x), optimizer, MLP.batches(1))
    assert same(model.parameters(), before)


def duplicated(how: str, optimizer: InterpretableSGD) -> Any:
    if how == "pickle":
        return pickle.loads(pickle.dumps(optimizer)).state_dict()
    if how == "deepcopy":
        return copy.deepcopy(optimizer).state_dict()
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@check("deepcopy, pickle, `torch.save` with `weights_only`", "the state is the same")
@inputs
@kernels
@ways
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "weights_only"])
def test_duplicates_of_the_state(how: str, way: dict, given: OptimizerInput, kernel: dict) -> None:
    safe = torch.serialization.safe_globals([])
    with safe if how == "weights_only" else nullcontext():
        model, optimizer = routed(given, kernel, way)
        train(model, optimizer, MLP.batches(3))
        state, other = optimizer.state_dict(), duplicated(how, optimizer)
    assert str(state["param_groups"]) == str(other["param_groups"])
    for index, entries in state["state"].items():
        assert entries.keys() == other["state"][index].keys()
        for key, value in entries.items():
            held = other["state"][index][key]
            equal = torch.equal(value, held) if isinstance(value, Tensor) else value == held
            assert equal, (index, key)


FORMATS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda weight: weight,
    "transposed": lambda weight: weight.T.contiguous().T,
    "strided": lambda weight: torch.stack([weight, weight], -1)[..., 0],
}


@check("parameters that are not contiguous", "the values of contiguous ones, routed")
@kernels
@ways
@pytest.mark.parametrize("layout", FORMATS.values(), ids=list(FORMATS))
def test_layouts_of_a_routed_weight(
    layout: Callable[[Tensor], Tensor], way: dict, kernel: dict
) -> None:
    results = []
    for laid in (layout, FORMATS["contiguous"]):
        model = MLP.model()
        model[2].weight = nn.Parameter(laid(model[2].weight.detach()))
        options = {"lr": 0.1, "momentum": 0.9} | way | kernel
        optimizer = InterpretableSGD(model.parameters(), **options)
        train(model, optimizer, MLP.batches())
        (units,) = optimizer.routed_units().values()
        results.append([*weights(model), units.probabilities, units.strength])
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right)


@check("`defaults` changed to foreach", "and back: the same values")
@ways
def test_foreach_may_be_set_later(way: dict) -> None:
    results = []
    for later in (True, False):
        model = MLP.model()
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, foreach=False, **way)
        train(model, optimizer, MLP.batches(2))
        for group in optimizer.param_groups:
            group["foreach"] = later
        train(model, optimizer, MLP.batches(2))
        results.append(weights(model))
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right)

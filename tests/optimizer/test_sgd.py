"""What torch checks of its own optimizers, on InterpretableSGD."""

import copy
import inspect
import itertools
import pickle
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim import lr_scheduler as schedulers
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from interpretable_sgd import InterpretableSGD
from tests.models import METHODS, MLP, Batch, same, train, weights

SETTINGS = {
    "default": {"lr": 1e-2},
    "tensor lr": {"lr": torch.tensor(1e-2)},
    "momentum": {"lr": 1e-2, "momentum": 0.9},
    "dampening": {"lr": 1e-2, "momentum": 0.9, "dampening": 0.5},
    "weight decay": {"lr": 1e-2, "momentum": 0.9, "weight_decay": 0.1},
    "tensor weight decay": {"lr": 1e-2, "weight_decay": torch.tensor(0.1)},
    "nesterov": {"lr": 1e-2, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "maximize": {"lr": 1e-2, "maximize": True},
}
KERNELS = {"for-loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
settings = pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
kernels = pytest.mark.parametrize("kernel", KERNELS.values(), ids=list(KERNELS))
no_layer = pytest.mark.filterwarnings("ignore:.*found nothing to route")


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


def twins(**options) -> tuple[nn.Module, InterpretableSGD, nn.Module, SGD]:
    """The same model under InterpretableSGD, which masks nothing, and under SGD."""
    ours, theirs = MLP.model(), MLP.model()
    routed = InterpretableSGD(ours.parameters(), block_size=1000, **options)
    return ours, routed, theirs, SGD(theirs.parameters(), **options)


@pytest.mark.row(
    "Construction",
    "`foreach`, `fused`, for-loop; momentum, Nesterov, dampening, decay, `maximize`",
    "each learns, routed",
)
@settings
@kernels
def test_a_masked_model_learns(setting: dict, kernel: dict, batches: list[Batch]) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(
        model.parameters(), **(setting | {"lr": setting["lr"] * 10} | kernel), form=3, settle=9
    )
    (x, y), *_ = batches
    before = loss_of(model, (x, y)).item()
    train(model, optimizer, [(x, y)] * 20)
    after = loss_of(model, (x, y)).item()
    assert after > before if setting.get("maximize") else after < before


@pytest.mark.parametrize("empty", [[], iter([])], ids=["list", "iterator"])
def test_no_parameters(empty: Any) -> None:
    with pytest.raises(ValueError, match="optimizer got an empty parameter list"):
        InterpretableSGD(empty)


def test_a_tensor_is_no_parameter_list() -> None:
    with pytest.raises(TypeError, match="params argument given to the optimizer should be an iter"):
        InterpretableSGD(torch.ones(3))


def test_non_leaf_parameters() -> None:
    with pytest.raises(ValueError, match="can't optimize a non-leaf Tensor"):
        InterpretableSGD([torch.ones(3, requires_grad=True) * 2])


def test_a_group_must_be_a_dict(model: nn.Module) -> None:
    optimizer = InterpretableSGD(model[0].parameters())
    with pytest.raises(TypeError, match="param_group must be a dict, got list"):
        optimizer.add_param_group(list(model[2].parameters()))  # type: ignore[arg-type]


def test_a_parameter_in_two_groups(model: nn.Module) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        optimizer.add_param_group({"params": model[2].parameters(), "block_size": 2})
    assert len(optimizer.param_groups) == 1
    train(model, optimizer, MLP.batches(1))
    assert list(optimizer.routed_units()) == ["2"]


def test_a_parameter_twice_in_a_group(model: nn.Module) -> None:
    with pytest.warns(UserWarning, match="duplicate parameters"):
        InterpretableSGD([model[2].weight, model[2].weight])


def test_an_empty_group_may_be_there(model: nn.Module) -> None:
    optimizer = InterpretableSGD([{"params": []}, {"params": model.parameters()}], lr=0.1)
    train(model, optimizer, MLP.batches(2))
    assert list(optimizer.routed_units()) == ["2"]


@pytest.mark.row(
    "Construction", "`fused` with `foreach` or `differentiable`", "torch's message", answer="error"
)
def test_fused_excludes_foreach_and_differentiable(model: nn.Module) -> None:
    with pytest.raises(RuntimeError, match="`fused` and `foreach` cannot be `True` together"):
        InterpretableSGD(model.parameters(), fused=True, foreach=True)
    with pytest.raises(RuntimeError, match="`fused` does not support `differentiable`"):
        InterpretableSGD(model.parameters(), fused=True, differentiable=True)


@pytest.mark.row(
    "Construction",
    "param groups as dicts, an own rate and decay each",
    "every option may be a group's own",
)
def test_groups_have_their_own_rates(model: nn.Module, batches: list[Batch]) -> None:
    groups = [
        {"params": model[0].parameters(), "lr": 0.0},
        {"params": model[2].parameters(), "weight_decay": 0.3},
    ]
    optimizer = InterpretableSGD(groups, lr=0.1)
    before = weights(model)
    train(model, optimizer, batches)
    after = weights(model)
    assert same(before[:2], after[:2])
    assert not any(torch.equal(b, a) for b, a in zip(before[2:], after[2:], strict=True))


@pytest.mark.row(
    "Construction", "named parameters, in a group or not", "names are in `param_names`"
)
@pytest.mark.parametrize("grouped", [False, True])
def test_named_parameters(grouped: bool, batches: list[Batch]) -> None:
    named, plain = MLP.model(), MLP.model()
    params: Any = named.named_parameters()
    optimizer = InterpretableSGD([{"params": params}] if grouped else params, lr=0.1)
    names = [name for name, _ in named.named_parameters()]
    assert optimizer.param_groups[0]["param_names"] == names
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == names
    train(named, optimizer, batches)
    train(plain, InterpretableSGD(plain.parameters(), lr=0.1), batches)
    assert same(named.parameters(), plain.parameters())


def test_named_and_unnamed_parameters_do_not_mix(model: nn.Module) -> None:
    optimizer = InterpretableSGD(model[0].named_parameters())
    with pytest.raises(ValueError, match="optimizer param groups should be with/without names"):
        optimizer.add_param_group({"params": model[2].parameters()})


@pytest.mark.row("Construction", "tensor lr", "the same values; it may change in place")
def test_a_tensor_rate_equals_a_float_rate(batches: list[Batch]) -> None:
    results = []
    for rate in (0.125, torch.tensor(0.125)):
        model = MLP.model()
        optimizer = InterpretableSGD(model.parameters(), lr=rate, momentum=0.9, form=2)
        train(model, optimizer, batches)
        results.append(weights(model))
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right)


def test_a_tensor_rate_may_change_in_place(batches: list[Batch]) -> None:
    model = MLP.model()
    # By steps: a rate that falls to 0 would end the phases, and fade what is idle.
    optimizer = InterpretableSGD(model.parameters(), lr=torch.tensor(0.1), form=1000, settle=2000)
    train(model, optimizer, batches)
    before = weights(model)
    optimizer.param_groups[0]["lr"].fill_(0.0)
    train(model, optimizer, batches)
    assert same(model.parameters(), before)


@pytest.mark.row("Training loop", "`step(closure)`", "evaluated once, routed as without")
@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
@pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")
def test_a_closure_is_evaluated_once_and_masked(method: dict, batches: list[Batch]) -> None:
    options = {"lr": 0.1} | method
    closed, opened = MLP.model(), MLP.model()
    optimizer = InterpretableSGD(closed.parameters(), **options)
    losses = []
    for batch in batches:

        def closure(batch: Batch = batch) -> Tensor:
            assert torch.is_grad_enabled()
            optimizer.zero_grad()
            loss = loss_of(closed, batch)
            loss.backward()
            losses.append(loss)
            return loss

        with torch.no_grad():
            assert optimizer.step(closure) is losses[-1]
    assert len(losses) == len(batches)
    train(opened, InterpretableSGD(opened.parameters(), **options), batches)
    assert same(closed.parameters(), opened.parameters())


def test_a_step_without_closure_returns_nothing(model: nn.Module) -> None:
    assert InterpretableSGD(model.parameters()).step() is None


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "cosine": lambda o: schedulers.CosineAnnealingLR(o, 6),
    "step": lambda o: schedulers.StepLR(o, 2, gamma=0.5),
    "plateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=1, threshold=10.0),
    "cycle": lambda o: schedulers.OneCycleLR(o, 0.3, total_steps=8),
    "warm-up": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.1, total_iters=2), schedulers.ExponentialLR(o, 0.9)], [2]
    ),
    "chained": lambda o: schedulers.ChainedScheduler(
        [schedulers.ConstantLR(o, 0.3, 2), schedulers.MultiplicativeLR(o, lambda _: 0.9)]
    ),
    "function": lambda o: schedulers.LambdaLR(o, lambda step: 1 / (1 + step)),
    "milestones": lambda o: schedulers.MultiStepLR(o, [2, 4]),
    "polynomial": lambda o: schedulers.PolynomialLR(o, 8),
    "triangle": lambda o: schedulers.CyclicLR(o, 0.1, 0.3, step_size_up=3),
    "warm restarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 4),
}


def test_every_scheduler_of_torch_is_among_them() -> None:
    made = {*re.findall(r"schedulers\.(\w+)", inspect.getsource(sys.modules[__name__]))}
    assert set(schedulers.__all__) - {"LRScheduler"} <= made


@pytest.mark.row(
    "Training loop",
    "every class of `torch.optim.lr_scheduler`",
    "rates and, at K >= M, weights of `torch.optim.SGD`; the phases follow the rate",
)
@pytest.mark.parametrize("schedule", SCHEDULERS.values(), ids=list(SCHEDULERS))
def test_schedulers(
    schedule: Callable[[torch.optim.Optimizer], Any], recwarn: pytest.WarningsRecorder
) -> None:
    ours, routed, theirs, dense = twins(lr=0.2, momentum=0.9)
    rates = []
    for model, optimizer in ((ours, routed), (theirs, dense)):
        scheduler = schedule(optimizer)
        rates.append([])
        for batch in MLP.batches(6):
            optimizer.zero_grad()
            loss = loss_of(model, batch)
            loss.backward()
            optimizer.step()
            plateau = isinstance(scheduler, schedulers.ReduceLROnPlateau)
            scheduler.step(*([loss.item()] if plateau else []))
            rates[-1].append([group["lr"] for group in optimizer.param_groups])
    assert rates[0] == rates[1] and len({str(rate) for rate in rates[0]}) > 1
    assert same(ours.parameters(), theirs.parameters())
    assert not [w for w in recwarn if "optimizer.step()" in str(w.message)]


@pytest.mark.row(
    "State", "step hooks, of the optimizer and of all optimizers", "fire once, in order"
)
def test_hooks_fire_once_and_in_order(model: nn.Module, batches: list[Batch]) -> None:
    fired: list[str] = []
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: fired.append("pre"))
    optimizer.register_step_post_hook(lambda *_: fired.append("post"))
    everywhere = [
        register_optimizer_step_pre_hook(lambda *_: fired.append("PRE")),
        register_optimizer_step_post_hook(lambda *_: fired.append("POST")),
    ]
    try:
        train(model, optimizer, batches[:2])
    finally:
        for handle in everywhere:
            handle.remove()
    assert fired == ["PRE", "pre", "post", "POST"] * 2


@pytest.mark.row("State", "state_dict hooks", "fire once")
def test_state_dict_hooks_fire_once(model: nn.Module) -> None:
    fired: list[str] = []
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    optimizer.register_state_dict_pre_hook(lambda *_: fired.append("save"))
    optimizer.register_state_dict_post_hook(lambda *_: fired.append("saved"))
    optimizer.register_load_state_dict_pre_hook(lambda *_: fired.append("load"))
    optimizer.register_load_state_dict_post_hook(lambda *_: fired.append("loaded"))
    optimizer.load_state_dict(optimizer.state_dict())
    assert fired == ["save", "saved", "load", "loaded"]


@pytest.mark.row(
    "Training loop",
    "`zero_grad`, to None or to zero",
    "also forgets the statistic of a skipped step",
)
@pytest.mark.parametrize("said", [(), (True,), (False,)])
def test_zero_grad(said: tuple[bool, ...], model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    loss_of(model, batches[0]).backward()
    optimizer.zero_grad(*said)
    gradients = [parameter.grad for parameter in model.parameters()]
    if said != (False,):
        assert gradients == [None] * 4
    else:
        assert not any(gradient.any() for gradient in gradients)


@settings
@kernels
def test_deepcopy_and_pickle_of_an_optimizer(setting: dict, kernel: dict) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), **setting, **kernel)
    train(model, optimizer, MLP.batches())
    state = optimizer.state_dict()
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        read = twin.state_dict()
        assert [g.keys() for g in read["param_groups"]] == [g.keys() for g in state["param_groups"]]
        assert str(read["param_groups"]) == str(state["param_groups"])
        for index, entries in state["state"].items():
            for key, value in entries.items():
                other = read["state"][index][key]
                equal = torch.equal(value, other) if isinstance(value, Tensor) else value == other
                assert equal, (index, key)
        twin.step()
        twin.zero_grad()


def test_saving_twice_is_the_same() -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, optimizer, MLP.batches())
    assert str(optimizer.state_dict()) == str(optimizer.state_dict())
    before = str(optimizer.state_dict())
    optimizer.load_state_dict(optimizer.state_dict())
    assert str(optimizer.state_dict()) == before


def test_repr_names_the_options(model: nn.Module) -> None:
    text = repr(InterpretableSGD(model.parameters(), lr=0.1, block_size=7))
    assert "InterpretableSGD" in text and "block_size: 7" in text and "tensor" not in text


@no_layer
@settings
@kernels
def test_parameters_that_are_not_contiguous(setting: dict, kernel: dict) -> None:
    results = []
    for kind in (InterpretableSGD, SGD):
        torch.manual_seed(0)
        parameter = nn.Parameter(torch.randn(4, 3, 2)[..., 0])
        optimizer = kind([parameter], **setting, **kernel)
        for _ in range(3):
            optimizer.zero_grad()
            parameter.pow(3).sum().backward()
            optimizer.step()
        results.append(parameter.detach())
    assert torch.equal(*results)


@pytest.mark.row("Layers and models", "complex parameters", "not routed", answer="plain")
@no_layer
@settings
def test_complex_parameters_are_sgd(setting: dict) -> None:
    results = []
    for kind in (InterpretableSGD, SGD):
        torch.manual_seed(0)
        parameter = nn.Parameter(torch.randn(5, dtype=torch.complex64))
        optimizer = kind([parameter], **setting)
        for _ in range(3):
            optimizer.zero_grad()
            (parameter * (1 + 2j)).abs().sum().backward()
            optimizer.step()
        results.append(parameter.detach())
    assert torch.equal(*results) and results[0].is_complex()


@pytest.mark.row(
    "Layers and models",
    "sparse gradients, as of `Embedding(sparse=True)`",
    "as `torch.optim.SGD`; of a routed weight: an error",
    answer="plain",
)
@pytest.mark.parametrize("foreach", [None, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sparse_gradients_of_unrouted_parameters_are_sgd(
    momentum: float, foreach: bool | None
) -> None:
    """An embedding below a routed head."""
    results = []
    for kind in (InterpretableSGD, SGD):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(10, 16, sparse=True), nn.Flatten(), nn.Linear(32, 4))
        keep = {"block_size": 1000} if kind is InterpretableSGD else {}
        optimizer = kind(model.parameters(), lr=0.1, momentum=momentum, foreach=foreach, **keep)
        batch = torch.randint(10, (6, 2)), torch.arange(6) % 4
        train(model, optimizer, [batch] * 3)
        assert model[0].weight.grad.is_sparse
        results.append(weights(model))
    assert same(*results)


@pytest.mark.row(
    "Construction",
    "`differentiable=True`",
    "for parameters without a routed layer, as unrolled ones are",
)
@no_layer
def test_differentiable_steps_are_sgd() -> None:
    """The gradient of the updated parameter in the parameter and in its gradient."""
    results = []
    for kind in (InterpretableSGD, SGD):
        torch.manual_seed(0)
        leaf = torch.randn(4, dtype=torch.float64, requires_grad=True)
        gradient = torch.randn(4, dtype=torch.float64, requires_grad=True)
        parameter = leaf.clone()
        parameter.grad = gradient
        optimizer = kind([parameter], lr=0.3, weight_decay=0.2, differentiable=True)
        optimizer.step()
        results.append(torch.autograd.grad(parameter.square().sum(), (leaf, gradient)))
    assert same(*results)


def test_the_graph_is_not_kept(model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, momentum=0.9, form=2)
    train(model, optimizer, batches)
    states = itertools.chain.from_iterable(s.values() for s in optimizer.state.values())
    tensors = [value for value in states if isinstance(value, Tensor)]
    assert tensors and not any(tensor.requires_grad for tensor in tensors)
    assert all(parameter.is_leaf for parameter in model.parameters())


def test_defaults_changed_later_count_for_new_groups(model: nn.Module) -> None:
    optimizer = InterpretableSGD(model[0].parameters(), lr=0.1)
    optimizer.defaults["block_size"] = 9
    optimizer.add_param_group({"params": model[2].parameters()})
    assert [group["block_size"] for group in optimizer.param_groups] == [5, 9]


def test_the_optimizer_runs_in_the_profiler(model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        train(model, optimizer, batches[:1])
    names = {event.key for event in profile.key_averages()}
    assert "Optimizer.step#InterpretableSGD.step" in names


@pytest.mark.parametrize(
    ("kernel", "operation"),
    [
        ("for-loop", "aten::add_"),
        ("foreach", "aten::_foreach_add_"),
        ("fused", "aten::_fused_sgd_"),
    ],
)
def test_the_chosen_kernel_runs(kernel: str, operation: str) -> None:
    layer = nn.Linear(3, 2)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1, layers="none", **KERNELS[kernel])
    layer(torch.ones(1, 3)).sum().backward()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        optimizer.step()
    assert operation in {event.key for event in profile.key_averages()}

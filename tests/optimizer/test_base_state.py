"""State: saved, loaded, copied, and continued from bit for bit."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableAdamW, InterpretableSGD
from tests.models import CASES, CLASSES, METHODS, MLP, Batch, same, train, weights

pytestmark = pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")
MODES = {
    "scheduled": {},
    "brake": METHODS["brake"],
    "form": METHODS["form"],
    "route": METHODS["route"],
    "settled": METHODS["settle"],
    "through all phases": {"brake": 2, "form": 4, "settle": 6, "block_size": 3},
    "shared": METHODS["shared"],
    "shared, narrowing": METHODS["shared, narrowing"],
    "algorithm3": METHODS["algorithm3"],
}
modes = pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
KINDS = {"SGD": (InterpretableSGD, {"momentum": 0.9}), "AdamW": (InterpretableAdamW, {})}
kinds = pytest.mark.parametrize("kind", KINDS)


def through_a_file(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


class Run:
    """Model, optimizer and scheduler, as a process has them."""

    def __init__(self, name: str, start: int = 0, kind: str = "SGD", **options) -> None:
        self.model = CASES[name].model(start)
        optimizer, own = KINDS[kind]
        self.optimizer = optimizer(self.model.parameters(), **({"lr": 0.1} | own | options))
        self.rates = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 8)

    def parts(self) -> tuple[Any, ...]:
        return self.model, self.optimizer, self.rates

    def train(self, batches: list[Batch]) -> None:
        train(self.model, self.optimizer, batches, self.rates.step)

    def everything(self) -> list[Tensor]:
        states = [self.optimizer.state[p] for p in self.model.parameters()]
        tensors = [v for state in states for v in state.values() if isinstance(v, Tensor)]
        return [*weights(self.model), *tensors]


@pytest.mark.row(
    "State",
    "`state_dict`, `torch.save`, `weights_only=True`",
    "a resumed run continues bit for bit",
)
@kinds
@modes
@pytest.mark.parametrize("at", [1, 3, 5, 7])
@pytest.mark.parametrize("name", ["mlp", "convolution head"])
def test_a_resumed_run_continues_bit_for_bit(name: str, at: int, mode: dict, kind: str) -> None:
    batches = CASES[name].batches(8)
    straight = Run(name, kind=kind, **mode)
    straight.train(batches)

    first = Run(name, kind=kind, **mode)
    first.train(batches[:at])
    saved = through_a_file([part.state_dict() for part in first.parts()])
    # Other weights, and options that the checkpoint overrules.
    second = Run(name, start=5, kind=kind, **(mode | {"block_size": 2, "seed": 9}))
    for part, state in zip(second.parts(), saved, strict=True):
        part.load_state_dict(state)
    assert second.optimizer.phase == first.optimizer.phase
    second.train(batches[at:])
    assert second.optimizer.phase == straight.optimizer.phase
    assert same(second.everything(), straight.everything())
    read, expected = second.optimizer.routed_units(), straight.optimizer.routed_units()
    assert read.keys() == expected.keys() != set()
    for layer, units in read.items():
        for ours, theirs in zip(units, expected[layer], strict=True):
            assert torch.equal(ours, theirs) if isinstance(ours, Tensor) else ours == theirs


@modes
def test_the_running_model_may_be_set_back(mode: dict) -> None:
    """Loaded into the very objects that have gone on: no fresh process."""
    batches = MLP.batches(6)
    run = Run("mlp", **mode)
    run.train(batches[:2])
    saved = through_a_file([part.state_dict() for part in run.parts()])
    run.train(batches[2:])
    expected = run.everything()
    for part, state in zip(run.parts(), saved, strict=True):
        part.load_state_dict(state)
    run.train(batches[2:])
    assert same(run.everything(), expected)


def test_a_checkpoint_from_before_the_first_step() -> None:
    straight, fresh = (Run("mlp", **METHODS["route"]) for _ in range(2))
    other = Run("mlp", start=4, **METHODS["route"])
    for part, state in zip(other.parts(), fresh.parts(), strict=True):
        part.load_state_dict(through_a_file(state.state_dict()))
    straight.train(MLP.batches())
    other.train(MLP.batches())
    assert same(other.everything(), straight.everything())


def test_a_loaded_state_is_not_shared() -> None:
    run = Run("mlp")
    run.train(MLP.batches())
    state = run.optimizer.state_dict()
    other = Run("mlp")
    other.optimizer.load_state_dict(state)
    # momentum buffers are torch.optim.SGD's own, which shares them
    state = run.optimizer.state[run.model[2].weight]
    own = {key: value for key, value in state.items() if key in ("moments", "support")}
    before = {key: tensor.clone() for key, tensor in own.items()}
    other.train(MLP.batches())
    assert same(own.values(), before.values())


@pytest.mark.parametrize("layers", ["all", ["0"], lambda name, layer: name == "0"])
def test_routed_layers_come_from_the_checkpoint(layers: Any) -> None:
    model, twin = MLP.model(), MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers=layers)
    train(model, optimizer, MLP.batches())
    resumed = InterpretableSGD(twin.parameters(), lr=0.1)
    twin.load_state_dict(model.state_dict())
    resumed.load_state_dict(through_a_file(optimizer.state_dict()))
    train(twin, resumed, MLP.batches(2))
    train(model, optimizer, MLP.batches(2))
    assert list(resumed.routed_units()) == list(optimizer.routed_units()) != []
    assert same(twin.parameters(), model.parameters())


def test_statistics_of_half_precision_parameters_stay_float32() -> None:
    batches = [(x.bfloat16(), y) for x, y in MLP.batches(6)]
    straight, first, second = (Run("mlp", **METHODS["route"]) for _ in range(3))
    for run in (straight, first, second):
        run.model.bfloat16()
    straight.train(batches)
    first.train(batches[:3])
    for part, state in zip(second.parts(), first.parts(), strict=True):
        part.load_state_dict(through_a_file(state.state_dict()))
    state = second.optimizer.state[second.model[2].weight]
    assert state["moments"].dtype == torch.float32
    assert not torch.equal(state["moments"], state["moments"].bfloat16().float())
    assert state["momentum_buffer"].dtype == torch.bfloat16
    second.train(batches[3:])
    assert same(second.everything(), straight.everything())


@pytest.mark.row(
    "State", "a checkpoint loaded into a model of another dtype", "statistics keep their width"
)
def test_a_checkpoint_may_change_the_dtype_of_a_model() -> None:
    run = Run("mlp", **METHODS["route"])
    run.train(MLP.batches())
    wide = Run("mlp", **METHODS["route"])
    wide.model.double()
    for part, state in zip(wide.parts(), run.parts(), strict=True):
        part.load_state_dict(through_a_file(state.state_dict()))
    wide.train([(x.double(), y) for x, y in MLP.batches()])
    run.train(MLP.batches())
    for left, right in zip(weights(wide.model), weights(run.model), strict=True):
        assert left.dtype == torch.float64
        torch.testing.assert_close(left.float(), right, rtol=1e-3, atol=1e-4)


@pytest.mark.row(
    "State", "a checkpoint of `torch.optim.SGD`", "momentum goes on, routing starts afresh"
)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_checkpoint_of_torch_sgd_loads(momentum: float) -> None:
    model, plain = MLP.model(), MLP.model()
    dense = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=momentum)
    train(plain, dense, MLP.batches())
    optimizer = InterpretableSGD(model.parameters(), lr=0.3, block_size=1000, seed=4)
    model.load_state_dict(plain.state_dict())
    optimizer.load_state_dict(through_a_file(dense.state_dict()))
    (group,) = optimizer.param_groups
    assert group["lr"] == 0.1 and group["block_size"] == 1000 and group["seed"] == 4
    train(model, optimizer, MLP.batches())
    train(plain, dense, MLP.batches())
    assert same(model.parameters(), plain.parameters())
    assert list(optimizer.routed_units()) == ["2"]


def test_a_checkpoint_of_torch_sgd_leaves_the_options_of_groups_alone() -> None:
    model = MLP.model()
    groups = [list(model[0].parameters()), list(model[2].parameters())]
    dense = torch.optim.SGD([{"params": group} for group in groups], lr=0.1)
    optimizer = InterpretableSGD(
        [
            {"params": groups[0], "layers": "all", "block_size": 3, "form": 7},
            {"params": groups[1], "layers": "none"},
        ],
        lr=0.2,
        settle=9,
    )
    names = ("layers", "block_size", "form", "settle")
    before = [tuple(group[name] for name in names) for group in optimizer.param_groups]
    optimizer.load_state_dict(dense.state_dict())
    after = [tuple(group[name] for name in names) for group in optimizer.param_groups]
    assert after == before == [("all", 3, 7, 9), ("none", 5, None, 9)]
    train(model, optimizer, MLP.batches())
    assert list(optimizer.routed_units()) == ["0"]


def test_torch_sgd_loads_our_checkpoint() -> None:
    run = Run("mlp")
    run.train(MLP.batches())
    dense = torch.optim.SGD(run.model.parameters(), lr=1.0, momentum=0.9)
    dense.load_state_dict(through_a_file(run.optimizer.state_dict()))
    run.optimizer.detach()
    train(run.model, dense, MLP.batches())
    assert all(parameter.isfinite().all() for parameter in run.model.parameters())


def test_a_pre_hook_may_reorder_the_loaded_state() -> None:
    """As torch's documentation does to load by name: the hook's dict is what counts."""
    model, twin = MLP.model(), MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers="all", **METHODS["route"])
    train(model, optimizer, MLP.batches())
    backwards = list(twin.parameters())[::-1]
    other = InterpretableSGD(backwards, lr=0.1, layers="all", **METHODS["route"])

    def reordered(_: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        (group,) = state["param_groups"]
        last = len(group["params"]) - 1
        moved = {last - key: value for key, value in state["state"].items()}
        return {"state": moved, "param_groups": [group]}

    other.register_load_state_dict_pre_hook(reordered)
    other.load_state_dict(optimizer.state_dict())
    for parameter, parameter_twin in zip(model.parameters(), twin.parameters(), strict=True):
        assert optimizer.state[parameter].keys() == other.state[parameter_twin].keys()
    for layer, layer_twin in zip(model, twin, strict=True):
        if isinstance(layer, nn.Linear):
            left, right = optimizer.state[layer.weight], other.state[layer_twin.weight]
            assert torch.equal(left["moments"], right["moments"])
            assert left["steps"] == right["steps"] == 4


def test_a_state_of_other_groups_is_an_error(model: nn.Module) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    other = InterpretableSGD(model[0].parameters(), lr=0.1)
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        optimizer.load_state_dict(other.state_dict())


def pickled(parts: Any) -> Any:
    return pickle.loads(pickle.dumps(parts))


@pytest.mark.parametrize("lost", [(0, 2), (2,)], ids=["of every layer", "of one"])
def test_a_state_without_any_statistics_warns(
    lost: tuple[int, ...], recwarn: pytest.WarningsRecorder
) -> None:
    """Of every routed layer: one that has never run may well have none."""
    run, fresh = (Run("mlp", layers="all", **METHODS["route"]) for _ in range(2))
    run.train(MLP.batches())
    state = run.optimizer.state_dict()
    for number in lost:
        del state["state"][number]
    fresh.optimizer.load_state_dict(state)
    expected = ["the loaded state is of phase 'route'"] if len(lost) == 2 else []
    assert [str(warning.message).split(", but")[0] for warning in recwarn] == expected
    fresh.train(MLP.batches(2))


def test_a_loaded_state_that_routes_what_does_not_run_is_an_error() -> None:
    run, fresh = Run("mlp"), Run("mlp")
    run.train(MLP.batches())
    fresh.optimizer.load_state_dict(run.optimizer.state_dict())
    sum(parameter.square().sum() for parameter in fresh.model.parameters()).backward()
    match = r"^layers='head' routes parameters .*: parameter 2; nothing was updated"
    with pytest.raises(RuntimeError, match=match):
        fresh.optimizer.step()
    fresh.optimizer.detach()


def test_a_layer_that_runs_only_after_the_first_step_keeps_the_loaded_statistics() -> None:
    run, fresh = (Run("mlp", layers="all", **METHODS["route"]) for _ in range(2))
    run.train(MLP.batches())
    fresh.optimizer.load_state_dict(run.optimizer.state_dict())
    body, _, head = fresh.model
    loaded, before = fresh.optimizer.state[body.weight]["moments"].clone(), weights(body)
    train(head, fresh.optimizer, [(torch.rand(5, 20), torch.arange(5) % CLASSES)])
    train(fresh.model, fresh.optimizer, MLP.batches(1))
    assert torch.equal(fresh.optimizer.state[body.weight]["moments"], loaded)
    assert not same(weights(body), before)


@pytest.mark.row("State", "deepcopy and pickle of model and optimizer", "continue bit for bit")
@modes
@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_copies_of_model_and_optimizer_continue_bit_for_bit(
    duplicate: Callable[[Any], Any], mode: dict
) -> None:
    model, batches = MLP.model(), MLP.batches(6)
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, momentum=0.9, **mode)
    train(model, optimizer, batches[:3])
    twin, twins_optimizer = duplicate((model, optimizer))
    assert type(twin[2]) is nn.Linear
    train(model, optimizer, batches[3:])
    train(twin, twins_optimizer, batches[3:])
    assert same(twin.parameters(), model.parameters())
    assert list(twins_optimizer.routed_units()) == ["2"]
    head, copied = model[2].weight, twin[2].weight
    assert torch.equal(twins_optimizer.state[copied]["moments"], optimizer.state[head]["moments"])
    # and what a later group is routed by
    twins_optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
    assert twins_optimizer.param_groups[1]["layers"] == optimizer.defaults["layers"]


CHOICES = {
    "keyword": lambda model: "all",
    "name": lambda model: "2",
    "module": lambda model: model[2],
    "modules": lambda model: [model[0], model[2]],
    "function": lambda model: chooses_last,
}


def chooses_last(name: str, layer: nn.Module) -> bool:
    """A choice that pickle finds."""
    return name == "2"


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_a_copy_finds_its_own_layers(
    duplicate: Callable[[Any], Any], choice: str, attached: bool, steps: int
) -> None:
    """Before the first step, too, and whatever `layers` is."""
    model = MLP.model()
    options = METHODS["route"] | {"layers": CHOICES[choice](model)}
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **options)
    if attached:
        optimizer.attach(model)
    train(model, optimizer, MLP.batches(steps))
    twin, twins_optimizer = duplicate((model, optimizer))
    train(model, optimizer, MLP.batches())
    train(twin, twins_optimizer, MLP.batches())
    assert same(twin.parameters(), model.parameters())
    assert list(twins_optimizer.routed_units()) == list(optimizer.routed_units()) != []


def test_a_state_from_before_the_first_step_routes_what_the_optimizer_chooses() -> None:
    """Not every layer, though the state comes from layers that were chosen by module."""
    model, twin = MLP.model(), MLP.model()
    early = InterpretableSGD(model.parameters(), lr=0.1, layers=model[0])
    fresh = InterpretableSGD(twin.parameters(), lr=0.1, layers="head")
    fresh.load_state_dict(through_a_file(early.state_dict()))
    train(twin, fresh, MLP.batches(2))
    assert list(fresh.routed_units()) == ["2"]


@pytest.mark.row(
    "State", "a checkpoint of `torch.optim.AdamW`", "moments go on, routing starts afresh"
)
def test_a_checkpoint_of_torch_adamw_loads() -> None:
    model, plain = MLP.model(), MLP.model()
    dense = torch.optim.AdamW(plain.parameters(), lr=0.01)
    train(plain, dense, MLP.batches())
    optimizer = InterpretableAdamW(model.parameters(), lr=0.3, block_size=1000)
    model.load_state_dict(plain.state_dict())
    optimizer.load_state_dict(through_a_file(dense.state_dict()))
    (group,) = optimizer.param_groups
    assert group["lr"] == 0.01 and group["block_size"] == 1000
    train(model, optimizer, MLP.batches())
    train(plain, dense, MLP.batches())
    assert same(model.parameters(), plain.parameters())
    assert list(optimizer.routed_units()) == ["2"]


def test_the_state_is_that_of_torch_sgd_but_for_routed_weights() -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, optimizer, MLP.batches())
    keys = {index: set(state) for index, state in optimizer.state_dict()["state"].items()}
    own = {"moments", "steps", "held", "peak_lr", "last_lr", "phase", "braked", "formed"}
    own |= {"progress", "asked", "settled_at", "is_head", "input_mean", "support"}
    dense = {"momentum_buffer"}
    assert keys == {0: dense, 1: dense, 2: dense | own, 3: dense}


def test_loading_between_forward_and_step_keeps_the_loaded_state() -> None:
    """Statistics of the old weights do not leak into the loaded run."""
    run = Run("mlp", **METHODS["route"])
    run.train(MLP.batches(2))
    saved = [copy.deepcopy(part.state_dict()) for part in run.parts()]
    x, y = MLP.batches()[0]
    cross_entropy(run.model(50 * x), y).backward()
    for part, state in zip(run.parts(), saved, strict=True):
        part.load_state_dict(state)
    straight = Run("mlp", **METHODS["route"])
    straight.train(MLP.batches(4))
    run.train(MLP.batches(4)[2:])
    assert same(run.everything(), straight.everything())
    assert run.model[2].out_features == CLASSES

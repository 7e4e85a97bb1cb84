"""DistributedDataParallel in all its settings, and torch.nn.DataParallel, on two processes."""

import copy
import threading
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms.join import Join
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from interpretable_sgd import InterpretableSGD
from tests.models import CLASSES, METHODS, MLP, Batch, Spare, same, train, weights
from tests.ranks import spawned

STEPS = 4
OPTIONS: dict[str, Any] = {"lr": 0.1, "momentum": 0.9}
PHASES = {name: METHODS[name] for name in ("brake", "form", "route", "settle", "shared")}
SETTINGS: dict[str, dict[str, Any]] = {
    "static graph": {"static_graph": True},
    "unused parameters": {"find_unused_parameters": True},
    "bucket views": {"gradient_as_bucket_view": True},
    "no_sync": {},
}


def half(batch: Batch, rank: int) -> Batch:
    return batch[0][6 * rank : 6 * rank + 6], batch[1][6 * rank : 6 * rank + 6]


def selection(model: nn.Module, optimizer: InterpretableSGD) -> dict[str, Any]:
    """What the next step of the head depends on, beside weights and momentum."""
    head = model.net[2] if isinstance(model, Spare) else model[2]
    state = optimizer.state[head.weight]
    held = {key: value for key, value in state.items() if key != "momentum_buffer"}
    return copy.deepcopy(held) | {"support": optimizer.routed_units().popitem()[1].support}


def trained(rank: int, name: str, phase: str) -> dict[str, Any]:
    model = Spare() if name == "unused parameters" else MLP.model()
    wrapped = DistributedDataParallel(model, **SETTINGS[name])
    optimizer = InterpretableSGD(model.parameters(), **OPTIONS, **PHASES[phase])
    for batch in MLP.batches(STEPS):
        optimizer.zero_grad()
        x, y = half(batch, rank)
        parts = 2 if name == "no_sync" else 1
        for number, (a, b) in enumerate(zip(x.chunk(parts), y.chunk(parts), strict=True)):
            with wrapped.no_sync() if number < parts - 1 else nullcontext():
                (cross_entropy(wrapped(a), b) / parts).backward()
        optimizer.step()
    return {"weights": weights(model)[:4], "selection": selection(model, optimizer)}


def uneven(rank: int, phase: str) -> dict[str, Any]:
    """One process has two batches less; then both train on."""
    model = MLP.model()
    wrapped = DistributedDataParallel(model)
    optimizer = InterpretableSGD(model.parameters(), **OPTIONS, **PHASES[phase])
    halves = [half(batch, rank) for batch in MLP.batches(2 * STEPS)]
    with Join([wrapped, optimizer]):
        train(wrapped, optimizer, halves[: STEPS - 2 * rank])
    joined = weights(model)
    train(wrapped, optimizer, halves[STEPS:])
    return {
        "joined": joined,
        "weights": weights(model),
        "selection": selection(model, optimizer),
    }


def process(rank: int) -> dict[str, Any]:
    return {
        phase: {name: trained(rank, name, phase) for name in SETTINGS}
        | {"join": uneven(rank, phase)}
        for phase in PHASES
    }


def equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Bit for bit."""
    pairs = [(left[key], right[key]) for key in left]
    return left.keys() == right.keys() and all(
        torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs
    )


phases = pytest.mark.parametrize("phase", PHASES)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return spawned(process, tmp_path_factory.mktemp("ranks"))


@pytest.mark.row(
    "Several processes",
    "DistributedDataParallel: `static_graph`, `find_unused_parameters`, `gradient_as_bucket_view`, `no_sync`",
    "both ranks bit for bit the same, and selected as by one process on the whole batch",
)
@phases
@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_ddp(name: str, phase: str, ranks: list[Any]) -> None:
    left, right = (rank[phase][name] for rank in ranks)
    assert same(left["weights"], right["weights"])
    assert equal(left["selection"], right["selection"])
    model = Spare() if name == "unused parameters" else MLP.model()
    optimizer = InterpretableSGD(model.parameters(), **OPTIONS, **PHASES[phase])
    train(model, optimizer, MLP.batches(STEPS))
    assert PHASES[phase].get("method") or optimizer.phase == phase
    alone = selection(model, optimizer)
    assert left["selection"].keys() == alone.keys()
    assert torch.equal(left["selection"]["support"], alone["support"])
    for key, value in alone.items():
        torch.testing.assert_close(left["selection"][key], value, rtol=1e-4, atol=1e-5, msg=key)
    for ours, whole in zip(left["weights"], weights(model), strict=False):
        torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-5)
    plain = MLP.model()
    train(plain, torch.optim.SGD(plain.parameters(), **OPTIONS), MLP.batches(STEPS))
    assert not torch.allclose(weights(plain)[2], left["weights"][2], rtol=1e-2, atol=1e-3)


@pytest.mark.row(
    "Several processes",
    "uneven inputs: `Join([ddp_model, optimizer])`",
    "the optimizer is a `Joinable`; a rank that ran out takes over the state of one that did not",
)
@phases
def test_ranks_join_and_train_on(phase: str, ranks: list[Any]) -> None:
    left, right = (rank[phase]["join"] for rank in ranks)
    assert same(left["joined"], right["joined"])
    assert same(left["weights"], right["weights"])
    assert equal(left["selection"], right["selection"])


class OnThreads(nn.DataParallel):
    """torch.nn.DataParallel without GPUs: its own replicas of the modules, in threads."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.device_ids = [0, 1]

    def forward(self, input: Tensor) -> Tensor:
        halves, results = input.chunk(2), dict[int, Tensor | Exception]()

        def run(number: int) -> None:
            try:
                results[number] = self._replica()(halves[number])
            except Exception as error:
                results[number] = error

        threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for result in results.values():
            if isinstance(result, Exception):
                raise result
        return torch.cat([results[0], results[1]])  # type: ignore[list-item]

    def _replica(self) -> nn.Module:
        layers = [layer._replicate_for_data_parallel() for layer in self.module]  # type: ignore
        for replica, layer in zip(layers, self.module, strict=True):  # type: ignore[arg-type]
            for key, parameter in layer._parameters.items():
                setattr(replica, key, parameter.clone())
        return nn.Sequential(*layers)


@pytest.mark.row(
    "Several processes",
    "`torch.nn.DataParallel` on several devices (threads)",
    "its replicas are copies that the optimizer does not see: use DistributedDataParallel",
    answer="error",
)
@pytest.mark.parametrize("found", ["parameters alone", "attached", "after a step"])
def test_replicas_in_threads_are_an_error(found: str, batches: list[Batch]) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    if found == "attached":
        optimizer.attach(model)
    if found == "after a step":
        train(model, optimizer, batches)
    before = weights(model)
    with pytest.raises(RuntimeError, match=r"trains copies .* DistributedDataParallel"):
        train(OnThreads(model), optimizer, batches)
    assert same(model.parameters(), before)
    optimizer.detach()


class OnOneDevice(nn.DataParallel):
    """torch.nn.DataParallel on one device makes no replicas."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.device_ids = [0]

    def forward(self, input: Tensor) -> Tensor:
        return self.module(input)


def test_data_parallel_on_one_device_is_the_model_itself(batches: list[Batch]) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    optimizer.attach(OnOneDevice(model))
    train(OnOneDevice(model), optimizer, batches)
    assert list(optimizer.routed_units()) == ["2"]


def test_replicas_of_another_model_are_none_of_its_business(batches: list[Batch]) -> None:
    teacher, model = OnThreads(MLP.model()), MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    assert teacher(batches[0][0]).shape == (12, CLASSES)
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["2"]


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_real_replicas_are_an_error(batches: list[Batch]) -> None:
    model = MLP.model().cuda()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match="DataParallel trains copies"):
        nn.DataParallel(model)(batches[0][0].cuda())
    optimizer.detach()


def test_a_process_without_any_batch_cannot_stand_in(model: nn.Module) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    hook = optimizer.join_hook()
    with pytest.raises(RuntimeError, match="must take a step before it runs out of batches"):
        hook.main_hook()
    assert optimizer.join_device == model[0].weight.device
    optimizer.detach()

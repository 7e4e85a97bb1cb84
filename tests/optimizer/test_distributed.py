"""Two processes: masks and parameters stay the same on both."""

import copy
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from interpretable_sgd import InterpretableAdamW, InterpretableSGD
from tests.models import MLP, same, train, weights
from tests.ranks import spawned

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
STEPS = 7
OPTIONS = {
    "default": {},
    "route": {"brake": 2, "form": 3, "settle": 20, "block_size": 3},
    "through all phases": {"brake": 2, "form": 3, "settle": 5, "block_size": 3},
    "shared": {"method": "shared", "form": 3, "block_size": 3},
    "all": {"layers": "all", "brake": 1, "form": 2, "settle": 6, "block_size": 3},
}
KINDS = {"SGD": InterpretableSGD, "AdamW": InterpretableAdamW}


def one(rank: int, name: str, kind: str, first: bool, no_sync: bool) -> dict[str, Any]:
    """Different data on every rank; DDP around the model before or after the optimizer is made."""
    model = MLP.model()
    if first:
        wrapped = DistributedDataParallel(model)
    optimizer = KINDS[kind](model.parameters(), lr=0.05, **OPTIONS[name])
    if not first:
        wrapped = DistributedDataParallel(model)
    seen: dict[str, Any] = {"weights": [], "moments": []}
    for x, y in MLP.batches(STEPS):
        half = slice(rank * 6, rank * 6 + 6)
        optimizer.zero_grad()
        if no_sync:
            pieces = zip(x[half].chunk(2), y[half].chunk(2), strict=True)
            (a, b), (c, d) = pieces
            with wrapped.no_sync():
                (cross_entropy(wrapped(a), b) / 2).backward()
            (cross_entropy(wrapped(c), d) / 2).backward()
        else:
            cross_entropy(wrapped(x[half]), y[half]).backward()
        optimizer.step()
        seen["weights"].append(weights(model))
        seen["moments"].append(optimizer.state[model[2].weight]["moments"].clone())
    seen["routed"], seen["phase"] = list(optimizer.routed_units()), optimizer.phase
    return seen


def algorithm3(rank: int, same_data: bool) -> dict[str, Any]:
    """`.grad` under DDP, and what the same model gives on this rank alone."""
    model = MLP.model()
    alone = copy.deepcopy(model)
    optimizers = [
        InterpretableSGD(m.parameters(), lr=0.1, method="algorithm3", sparsity=-2.0, momentum=0.9)
        for m in (model, alone)
    ]
    wrapped = DistributedDataParallel(model)
    seen: dict[str, Any] = {"averaged": [], "local": [], "weights": []}
    for x, y in MLP.batches(STEPS):
        half = slice(0, 6) if same_data else slice(rank * 6, rank * 6 + 6)
        alone.load_state_dict(model.state_dict())
        for net, optimizer in ((wrapped, optimizers[0]), (alone, optimizers[1])):
            optimizer.zero_grad()
            cross_entropy(net(x[half]), y[half]).backward()
        seen["averaged"].append([p.grad.clone() for p in model.parameters()])
        seen["local"].append([p.grad.clone() for p in alone.parameters()])
        for optimizer in optimizers:
            optimizer.step()
        seen["weights"].append(weights(model))
    seen["moments"] = optimizers[0].state[model[2].weight]["moments"]
    return seen


def apart(rank: int) -> dict[str, Any]:
    """Models of their own, as folds or seeds: no DDP."""
    torch.manual_seed(rank)
    model = MLP.build()
    optimizer = InterpretableSGD(model.parameters(), lr=0.05, **OPTIONS["through all phases"])
    # A rank of another length would wait for ever if sums were shared.
    train(model, optimizer, MLP.batches(STEPS + rank, seed=rank))
    return {"weights": weights(model)}


def process(rank: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for name, kind, first, no_sync in CASES:
        results[str((name, kind, first, no_sync))] = one(rank, name, kind, first, no_sync)
    for same_data in (True, False):
        results[f"algorithm3, {same_data}"] = algorithm3(rank, same_data)
    results["apart"] = apart(rank)
    return results


CASES = [
    *((name, "SGD", first, False) for name in OPTIONS for first in (True, False)),
    *((name, "AdamW", True, False) for name in OPTIONS),
    *((name, "SGD", True, True) for name in OPTIONS),
]
cases = pytest.mark.parametrize("case", CASES, ids=str)
Ranks = list[Any]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    return spawned(process, tmp_path_factory.mktemp("ranks"))


def both(ranks: Ranks, name: str) -> tuple[Any, Any]:
    return ranks[0][name], ranks[1][name]


@pytest.mark.row(
    "Several processes",
    "DistributedDataParallel, around the model before or after; `no_sync`",
    "ranks stay bit for bit the same",
)
@cases
def test_ranks_stay_bitwise_equal(ranks: Ranks, case: tuple) -> None:
    left, right = both(ranks, str(case))
    for step in range(STEPS):
        assert same(left["weights"][step], right["weights"][step])
        assert torch.equal(left["moments"][step], right["moments"][step])
    assert left["routed"] == right["routed"] == (["0", "2"] if case[0] == "all" else ["2"])
    assert left["phase"] == right["phase"]
    if case[0] == "through all phases":
        assert left["phase"] == "settle" and (left["weights"][-1][2] != 0).sum(1).max() <= 3


@cases
def test_two_halves_are_one_batch(ranks: Ranks, case: tuple) -> None:
    """To rounding, in every phase."""
    name, kind, _, _ = case
    left, _ = both(ranks, str(case))
    model = MLP.model()
    optimizer = KINDS[kind](model.parameters(), lr=0.05, **OPTIONS[name])
    for step, batch in enumerate(MLP.batches(STEPS)):
        train(model, optimizer, [batch])
        for ours, theirs in zip(weights(model), left["weights"][step], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-5)


@pytest.mark.row(
    "Several processes",
    "DistributedDataParallel, Algorithm 3",
    "every rank draws its own; `.grad` is their mean",
)
@pytest.mark.parametrize("same_data", [True, False])
def test_masked_gradients_are_the_average_of_the_ranks(ranks: Ranks, same_data: bool) -> None:
    left, right = both(ranks, f"algorithm3, {same_data}")
    for step in range(STEPS):
        assert same(left["averaged"][step], right["averaged"][step])
        assert same(left["weights"][step], right["weights"][step])
        pairs = zip(left["local"][step], right["local"][step], strict=True)
        for averaged, (one_, other) in zip(left["averaged"][step], pairs, strict=True):
            torch.testing.assert_close(averaged, (one_ + other) / 2)
    assert torch.equal(left["moments"], right["moments"])


def test_ranks_draw_masks_of_their_own(ranks: Ranks) -> None:
    left, right = both(ranks, "algorithm3, True")
    heads: list[Tensor] = [rank["local"][1][2] for rank in (left, right)]
    assert not torch.equal(*heads), "the same data, but other draws"
    assert torch.equal(left["local"][1][3], right["local"][1][3]), "the bias is not masked"


@pytest.mark.row(
    "Several processes", "a model of its own on every process (folds, seeds)", "trained apart"
)
def test_processes_without_ddp_share_nothing(ranks: Ranks) -> None:
    for rank, seen in enumerate(ranks):
        torch.manual_seed(rank)
        model = MLP.build()
        optimizer = InterpretableSGD(model.parameters(), lr=0.05, **OPTIONS["through all phases"])
        train(model, optimizer, MLP.batches(STEPS + rank, seed=rank))
        assert same(weights(model), seen["apart"]["weights"])

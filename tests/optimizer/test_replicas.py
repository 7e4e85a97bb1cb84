"""Two processes: masks and parameters stay the same on both."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from interpretable_sgd import InterpretableSGD
from tests.models import MLP, same, train, weights
from tests.ranks import spawned

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
STEPS = 5
COMMON = {"lr": 0.1, "momentum": 0.9, "block_size": 3}
OPTIONS = {
    "brake": {},
    "form": {"brake": 0, "form": 99},
    "route": {"brake": 0, "form": 1, "settle": 99},
    "settle": {"brake": 0, "form": 1, "settle": 3},
    "shared": {"method": "shared", "form": 3},
    "all": {"layers": "all", "method": "shared", "form": 0},
    "all, routed": {"layers": "all", "brake": 2, "form": 4, "settle": 6},
}


def shared(rank: int, options: dict[str, Any], first: bool) -> dict[str, Any]:
    """Different data on every rank; DDP around the model before or after the optimizer is made."""
    model = MLP.model()
    if first:
        wrapped = DistributedDataParallel(model)
    optimizer = InterpretableSGD(model.parameters(), **(COMMON | options))
    if not first:
        wrapped = DistributedDataParallel(model)
    seen: dict[str, Any] = {"weights": [], "moments": []}
    for x, y in MLP.batches(STEPS):
        half = slice(rank * 6, rank * 6 + 6)
        train(wrapped, optimizer, [(x[half], y[half])])
        seen["weights"].append(weights(model))
        seen["moments"].append(optimizer.state[model[2].weight]["moments"].clone())
    seen["routed"] = list(optimizer.routed_units())
    return seen


def per_sample(rank: int, same_data: bool) -> dict[str, Any]:
    """`.grad` under DDP, and what the same model gives on this rank alone."""
    model = MLP.model()
    alone = copy.deepcopy(model)
    options = {"lr": 0.1, "method": "algorithm3", "sparsity": -1.0, "momentum": 0.9}
    optimizers = [InterpretableSGD(m.parameters(), **options) for m in (model, alone)]
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


def in_a_group(rank: int, options: dict[str, Any]) -> dict[str, Any]:
    """Gradients averaged by hand, over the process group that `attach` is given."""
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), **(COMMON | options))
    optimizer.attach(model, process_group=dist.group.WORLD)
    for x, y in MLP.batches(STEPS):
        half = slice(rank * 6, rank * 6 + 6)
        optimizer.zero_grad()
        cross_entropy(model(x[half]), y[half]).backward()
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()
        optimizer.step()
    return {"weights": weights(model), "moments": optimizer.state[model[2].weight]["moments"]}


def signs_differ(rank: int) -> dict[str, Any]:
    """The first input has negative entries on one rank alone."""
    torch.manual_seed(0)
    layer = nn.Linear(12, 3)
    wrapped = DistributedDataParallel(layer)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1, block_size=3)
    generator = torch.Generator().manual_seed(rank)
    for _ in range(STEPS):
        x = torch.rand(6, 12, generator=generator) - 0.5 * rank
        train(wrapped, optimizer, [(x, torch.arange(6) % 3)])
    return {"weights": weights(layer), "moments": optimizer.state[layer.weight]["moments"]}


def process(rank: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for first in (True, False):
        for name, options in OPTIONS.items():
            results[f"{name}, DDP {'first' if first else 'last'}"] = shared(rank, options, first)
    for name, options in OPTIONS.items():
        results[f"{name}, by hand"] = in_a_group(rank, options)
    for same_data in (True, False):
        results[f"per-sample, {same_data}"] = per_sample(rank, same_data)
    return results


Ranks = list[Any]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    return spawned(process, tmp_path_factory.mktemp("ranks"))


def both(ranks: Ranks, name: str) -> tuple[Any, Any]:
    return ranks[0][name], ranks[1][name]


@pytest.mark.row(
    "Several processes",
    "DistributedDataParallel, around the model before or after",
    "ranks stay bit for bit the same",
)
@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("name", OPTIONS)
def test_ranks_stay_bitwise_equal(ranks: Ranks, name: str, order: str) -> None:
    left, right = both(ranks, f"{name}, DDP {order}")
    for step in range(STEPS):
        assert same(left["weights"][step], right["weights"][step])
        assert torch.equal(left["moments"][step], right["moments"][step])
    assert left["moments"][-1].any()
    assert left["routed"] == right["routed"] == (["0", "2"] if "all" in name else ["2"])


def in_one_process(options: dict[str, Any]) -> tuple[list[list[Tensor]], list[Tensor]]:
    """Weights and running means after every step on whole batches."""
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), **(COMMON | options))
    seen: list[list[Tensor]] = []
    moments: list[Tensor] = []
    for batch in MLP.batches(STEPS):
        train(model, optimizer, [batch])
        seen.append(weights(model))
        moments.append(optimizer.state[model[2].weight]["moments"].clone())
    return seen, moments


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("name", OPTIONS)
def test_two_halves_are_one_batch(ranks: Ranks, name: str, order: str) -> None:
    left, _ = both(ranks, f"{name}, DDP {order}")
    whole, moments = in_one_process(OPTIONS[name])
    for step in range(STEPS):
        torch.testing.assert_close(left["moments"][step], moments[step], rtol=1e-3, atol=1e-5)
        for ours, theirs in zip(left["weights"][step], whole[step], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_process_group_that_is_given_is_one_of_ddp(ranks: Ranks, name: str) -> None:
    left, right = both(ranks, f"{name}, by hand")
    assert same(left["weights"], right["weights"])
    assert torch.equal(left["moments"], right["moments"])
    (*_, whole), (*_, moments) = in_one_process(OPTIONS[name])
    torch.testing.assert_close(left["moments"], moments, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(left["weights"], whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.row(
    "Several processes",
    "DistributedDataParallel, masks per sample",
    "every rank draws its own; `.grad` is their mean",
)
@pytest.mark.parametrize("same_data", [True, False])
def test_per_sample_gradients_are_the_average_of_the_ranks(ranks: Ranks, same_data: bool) -> None:
    left, right = both(ranks, f"per-sample, {same_data}")
    for step in range(STEPS):
        assert same(left["averaged"][step], right["averaged"][step])
        assert same(left["weights"][step], right["weights"][step])
        pairs = zip(left["local"][step], right["local"][step], strict=True)
        for averaged, (one, other) in zip(left["averaged"][step], pairs, strict=True):
            torch.testing.assert_close(averaged, (one + other) / 2)
    assert torch.equal(left["moments"], right["moments"])


def test_ranks_draw_per_sample_masks_of_their_own(ranks: Ranks) -> None:
    left, right = both(ranks, "per-sample, True")
    heads: list[Tensor] = [rank["local"][1][2] for rank in (left, right)]
    assert not torch.equal(*heads), "the same data, but other draws"
    assert torch.equal(left["local"][1][3], right["local"][1][3]), "the bias is not masked"


def test_ranks_agree_when_inputs_are_negative_on_one(tmp_path: Path) -> None:
    left, right = spawned(signs_differ, tmp_path)
    assert same(left["weights"], right["weights"])
    assert torch.equal(left["moments"], right["moments"])

"""FSDP2 (fully_shard): weights in parts, masks of the whole; checkpoints from 2 ranks to 1 and back."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from tests.models import CASES, METHODS, MLP, Batch, train
from tests.ranks import spawned

pytestmark = pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")
STEPS = 4
OPTIONS: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "block_size": 3, "weight_decay": 0.01}
FROM_THE_START: dict[str, Any] = {"brake": 0, "form": 0}
MODES: dict[str, dict[str, Any]] = {
    name: METHODS[name] for name in ("brake", "form", "route", "settle", "shared, narrowing")
} | {
    "route all layers": {"layers": "all", "settle": 100} | FROM_THE_START,
    "settle all layers": {"layers": "all", "settle": 3} | FROM_THE_START,
    "share all layers": {"layers": "all", "method": "shared", "form": 0, "shrink": 100.0},
}


def shard(model: nn.Module, **policy: Any) -> nn.Module:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in model.children():
        if list(layer.parameters()):
            fully_shard(layer, mesh=mesh, **policy)
    fully_shard(model, mesh=mesh, **policy)
    return model


def part(batch: Batch) -> Batch:
    """This process's share of a batch."""
    size = 12 // dist.get_world_size()
    share = slice(size * dist.get_rank(), size * (dist.get_rank() + 1))
    return batch[0][share], batch[1][share]


def everything(model: nn.Module, optimizer: InterpretableSGD) -> dict[str, Tensor]:
    tensors = {}
    for name, parameter in model.named_parameters():
        state = optimizer.state[parameter]
        for key, value in [("weight", parameter.detach()), *state.items()]:
            whole = value.full_tensor() if hasattr(value, "full_tensor") else torch.as_tensor(value)
            tensors[f"{name} {key}"] = whole.clone()
    return tensors


def trained(case: str, mode: dict[str, Any]) -> dict[str, Any]:
    model = shard(CASES[case].model())
    optimizer = InterpretableSGD(model.parameters(), **(OPTIONS | mode))
    train(model, optimizer, map(part, CASES[case].batches(STEPS)))
    units = optimizer.routed_units()
    return everything(model, optimizer) | {"support": [u.support for u in units.values()]}


PER_SAMPLE = {
    "plain": METHODS["form"],
    "routed": METHODS["brake"],
    "algorithm3": METHODS["algorithm3"],
}


def per_sample() -> dict[str, Tensor]:
    """The head's gradient in a second step, plain or selected in backward."""
    gradients = {}
    for name, options in PER_SAMPLE.items():
        model = shard(MLP.model())
        optimizer = InterpretableSGD(model.parameters(), lr=0.0, **options)
        for batch in map(part, MLP.batches(2)):
            optimizer.zero_grad()
            cross_entropy(model(batch[0]), batch[1]).backward()
            gradients[name] = model[2].weight.grad.full_tensor()  # type: ignore[index]
            optimizer.step()
        optimizer.detach()
    return gradients


def mixed_precision(options: dict[str, Any]) -> tuple[str, bool]:
    model = shard(MLP.model(), mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    optimizer = InterpretableSGD(model.parameters(), **(OPTIONS | options))
    for x, y in map(part, MLP.batches(STEPS)):
        optimizer.zero_grad()
        cross_entropy(model(x).float(), y).backward()
        optimizer.step()
    moments = optimizer.state[model[2].weight]["moments"]  # type: ignore[index]
    return str(moments.dtype), bool(moments.isfinite().all() and moments.any())


def tensor_parallel() -> str:
    model = MLP.model()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    parallelize_module(model, mesh, {"2": ColwiseParallel(output_layouts=Replicate())})
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    try:
        train(model, optimizer, MLP.batches(1))
    except TypeError as error:
        return str(error)
    finally:
        optimizer.detach()
    return "no error"


WIDE = ("brake", "route", "settle", "shared")


def process(rank: int) -> dict[str, Any]:
    results: dict[str, Any] = {
        f"{case}, {name}": trained(case, mode)
        for case in ("mlp", "convolutions", "bare linear")
        for name, mode in MODES.items()
    }
    return results | {
        "per-sample": per_sample(),
        "mixed": {name: mixed_precision(METHODS[name]) for name in WIDE},
        "tensor parallel": tensor_parallel(),
    }


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return spawned(process, tmp_path_factory.mktemp("ranks"))


@pytest.mark.row(
    "Several processes",
    "FSDP2: `fully_shard`, DTensor parameters",
    "selected as by one process on the whole batch; each rank holds the statistics of a routed layer whole",
)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", ["mlp", "convolutions", "bare linear"])
def test_sharded_models_train_as_one_process_does(case: str, mode: str, ranks: list[Any]) -> None:
    left, right = (rank[f"{case}, {mode}"] for rank in ranks)
    model = CASES[case].model()
    optimizer = InterpretableSGD(model.parameters(), **(OPTIONS | MODES[mode]))
    train(model, optimizer, CASES[case].batches(STEPS))
    alone = everything(model, optimizer)
    assert left.keys() == right.keys() == alone.keys() | {"support"}
    assert MODES[mode].get("method") or optimizer.phase == mode.partition(" ")[0]
    for key, expected in alone.items():
        assert torch.equal(left[key], right[key]), key
        torch.testing.assert_close(left[key], expected, rtol=1e-4, atol=1e-5, msg=key)
    supports = [units.support for units in optimizer.routed_units().values()]
    assert all(map(torch.equal, left["support"], supports)) and all(map(Tensor.any, supports))
    plain = CASES[case].model()
    sgd = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    train(plain, sgd, CASES[case].batches(STEPS))
    pairs = zip(plain.named_parameters(), model.named_parameters(), strict=True)
    differs = [name for (name, a), (_, b) in pairs if not torch.allclose(a, b, 1e-2, 1e-3)]
    assert differs or mode == "form"


def test_selections_per_sample_are_in_the_sharded_gradient(ranks: list[Any]) -> None:
    left, right = (rank["per-sample"] for rank in ranks)
    model = MLP.model()
    x, y = MLP.batches(2)[1]
    cross_entropy(model(x), y).backward()
    torch.testing.assert_close(left["plain"], model[2].weight.grad)
    alone = MLP.model()
    optimizer = InterpretableSGD(alone.parameters(), lr=0.0, **PER_SAMPLE["routed"])
    train(alone, optimizer, MLP.batches(2))
    torch.testing.assert_close(left["routed"], alone[2].weight.grad)
    for name, gradient in left.items():
        assert torch.equal(gradient, right[name]), name
        assert gradient.any() and (name == "plain" or not torch.allclose(gradient, left["plain"]))


@pytest.mark.parametrize("name", WIDE)
def test_sharded_mixed_precision_keeps_statistics_wide(name: str, ranks: list[Any]) -> None:
    assert ranks[0]["mixed"][name] == ("torch.float32", True)


@pytest.mark.row(
    "Several processes",
    "tensor parallelism: a routed weight that is split while its layer runs",
    "leave the layer out of `layers`",
    answer="error",
)
def test_weights_split_within_a_layer_are_an_error(ranks: list[Any]) -> None:
    message = ranks[0]["tensor parallel"]
    assert message.startswith("layers must not choose weights that are split within a layer")
    assert ", got 2, " in message and "fully_shard is supported" in message


# Phases that begin and end on one rank or on two.
RESHARDED: dict[str, dict[str, Any]] = {
    "form": {"brake": 1, "form": 7, "settle": 20},
    "route": {"brake": 2, "form": 5, "settle": 20},
    "settle": {"brake": 1, "form": 2, "settle": 4},
    "shared": METHODS["shared, narrowing"],
}


def stage(
    rank: int, store: Path, first: int, last: int, options: dict[str, Any]
) -> dict[str, Tensor]:
    """Train steps first to last, from the checkpoint that ends at `first` if there is one."""
    model = shard(MLP.model()) if dist.get_world_size() > 1 else MLP.model()
    optimizer = InterpretableSGD(model.parameters(), **(OPTIONS | options))
    batches = [part(batch) for batch in MLP.batches(9)]
    if first:
        train(model, optimizer, batches[:1])
        of_model, of_optimizer = get_state_dict(model, optimizer)
        saved = {"model": of_model, "optimizer": of_optimizer}
        dcp.load(saved, checkpoint_id=store / f"at{first}")
        set_state_dict(
            model,
            optimizer,
            model_state_dict=saved["model"],
            optim_state_dict=saved["optimizer"],
        )
    train(model, optimizer, batches[first:last])
    of_model, of_optimizer = get_state_dict(model, optimizer)
    dcp.save({"model": of_model, "optimizer": of_optimizer}, checkpoint_id=store / f"at{last}")
    return everything(model, optimizer)


@pytest.mark.row(
    "State",
    "`torch.distributed.checkpoint`, resharded from 2 ranks to 1 and back",
    "continues with the same selection, in every phase; take a training step before "
    "`get_optimizer_state_dict` in a new process, or a warning says that statistics were lost",
)
@pytest.mark.parametrize("options", RESHARDED.values(), ids=list(RESHARDED))
def test_a_checkpoint_is_resharded_from_two_ranks_to_one_and_back(
    options: dict[str, Any], tmp_path: Path
) -> None:
    def run(ranks: int, first: int, last: int, name: str) -> dict[str, Tensor]:
        folder = tmp_path / name
        folder.mkdir()
        return spawned(stage, folder, tmp_path, first, last, options, ranks=ranks)[0]

    run(2, 0, 3, "two")
    run(1, 3, 6, "one")
    resharded = run(2, 6, 9, "two again")
    straight = run(2, 0, 9, "straight")
    assert straight.keys() == resharded.keys() and "2.weight moments" in straight
    assert straight["2.weight steps"] == 9
    for key, expected in straight.items():
        torch.testing.assert_close(resharded[key], expected, rtol=1e-4, atol=1e-5, msg=key)


def test_a_state_without_its_statistics_warns(batches: list[Batch]) -> None:
    """As where get_optimizer_state_dict was asked before anything had run."""
    model, fresh = MLP.model(), MLP.model()
    optimizer = InterpretableSGD(model.parameters(), **(OPTIONS | METHODS["route"]))
    train(model, optimizer, batches)
    state = optimizer.state_dict()
    del state["state"][2]
    other = InterpretableSGD(fresh.parameters(), **(OPTIONS | METHODS["route"]))
    with pytest.warns(UserWarning, match="the loaded state is of phase 'route', but holds no"):
        other.load_state_dict(state)
    train(fresh, other, batches)
    assert list(other.routed_units()) == ["2"]


def test_asking_for_the_state_before_training_decides_and_warns_of_nothing(
    batches: list[Batch], recwarn: pytest.WarningsRecorder
) -> None:
    model, named = MLP.model(), MLP.model()
    for net, layers in ((model, "head"), (named, ["2"])):
        optimizer = InterpretableSGD(net.parameters(), layers=layers, **OPTIONS)
        optimizer.attach(net)
        get_state_dict(net, optimizer)
        assert not optimizer.routed_units()
        train(net, optimizer, batches)
        assert list(optimizer.routed_units()) == ["2"]
    assert not [w for w in recwarn if "rout" in str(w.message)]

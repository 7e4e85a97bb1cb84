"""How models and optimizers come to be: on meta, from memory-mapped files, moved afterwards."""

from pathlib import Path

import pytest
import torch
from torch import nn

from interpretable_sgd import InterpretableSGD
from tests.models import METHODS, MLP, Batch, mlp, same, train, weights

methods = pytest.mark.parametrize(
    "options", [METHODS[name] for name in ("brake", "route", "settle", "shared")]
)


@pytest.mark.row(
    "Construction", "`capturable`", "`torch.optim.SGD` has none either", answer="error"
)
def test_capturable_is_unknown(model: nn.Module) -> None:
    for kind in (InterpretableSGD, torch.optim.SGD):
        with pytest.raises(TypeError, match="unexpected keyword argument 'capturable'"):
            kind(model.parameters(), capturable=True)  # type: ignore[call-arg]


@pytest.mark.row(
    "Construction",
    "meta-device models, `to_empty` before the optimizer is made",
    "as torch asks of every optimizer",
)
@methods
def test_models_built_on_meta(options: dict, batches: list[Batch]) -> None:
    with torch.device("meta"):
        model = mlp()
    assert model[0].weight.is_meta
    model.to_empty(device="cpu")
    model.load_state_dict(MLP.model().state_dict())
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **options)
    twin = MLP.model()
    train(model, optimizer, batches)
    train(twin, InterpretableSGD(twin.parameters(), lr=0.1, **options), batches)
    assert same(model.parameters(), twin.parameters())


@pytest.mark.row(
    "Construction", "weights memory-mapped from a file (`torch.load(mmap=True)`)", "file unchanged"
)
@methods
def test_memory_mapped_weights(options: dict, tmp_path: Path, batches: list[Batch]) -> None:
    path = tmp_path / "model.pt"
    torch.save(MLP.model(seed=3).state_dict(), path)
    before = path.read_bytes()
    model, twin = MLP.model(), MLP.model(seed=3)
    model.load_state_dict(torch.load(path, mmap=True, weights_only=True), assign=True)
    train(model, InterpretableSGD(model.parameters(), lr=0.1, **options), batches)
    train(twin, InterpretableSGD(twin.parameters(), lr=0.1, **options), batches)
    assert same(model.parameters(), twin.parameters())
    assert path.read_bytes() == before


@pytest.mark.row(
    "State",
    "a model's dtype changed after steps (`model.double()`)",
    "statistics are float32 or wider, and lead on",
)
@pytest.mark.parametrize("kernel", [{"foreach": False}, {"foreach": True}], ids=["loop", "foreach"])
@methods
def test_dtypes_may_change_during_training(options: dict, kernel: dict[str, bool]) -> None:
    batches = MLP.batches(6)
    wide = [(x.double(), y) for x, y in batches]
    results = []
    for kind, own in (
        (InterpretableSGD, options | {"block_size": 1000}),
        (torch.optim.SGD, {}),
        (InterpretableSGD, options),
    ):
        model = MLP.model()
        optimizer = kind(model.parameters(), lr=0.1, momentum=0.9, **kernel, **own)
        train(model, optimizer, batches[:3])
        if kind is InterpretableSGD:
            assert optimizer.state[model[2].weight]["moments"].dtype == torch.float32
        train(model.double(), optimizer, wide[3:])
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[1], results[2])
    state = optimizer.state[model[2].weight]
    assert state["moments"].dtype == torch.float64 and state["steps"] == 6
    assert state["moments"].isfinite().all() and state["moments"].any()
    assert all(weight.isfinite().all() for weight in results[2])


@pytest.mark.row("State", "a model moved to another device after steps", "statistics follow")
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@methods
def test_devices_may_change_during_training(options: dict, batches: list[Batch]) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **options)
    train(model, optimizer, batches)
    train(model.cuda(), optimizer, [(x.cuda(), y.cuda()) for x, y in batches])
    assert optimizer.state[model[2].weight]["moments"].is_cuda
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.row(
    "Training loop",
    "any number of threads",
    "the same selection; weights to rounding, as products round differently in other numbers of threads",
)
@pytest.mark.parametrize(
    "options",
    [
        {"brake": 0, "form": 0, "settle": 10},
        {"brake": 0, "form": 0, "settle": 4},
        {"method": "shared", "form": 4},
    ],
    ids=["route", "settle", "shared"],
)
def test_selections_do_not_depend_on_the_number_of_threads(options: dict) -> None:
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 32))
            optimizer = InterpretableSGD(model.parameters(), lr=0.05, layers="all", **options)
            generator = torch.Generator().manual_seed(1)
            data = torch.rand(256, 64, generator=generator), torch.arange(256) % 32
            train(model, optimizer, [data] * 6)
            units = optimizer.routed_units().values()
            results.append((weights(model), [read.support for read in units]))
    finally:
        torch.set_num_threads(before)
    for other, support in results[1:]:
        assert same(results[0][1], support)
        for left, right in zip(results[0][0], other, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-5)
    assert all(support.any() and not support.all() for support in results[0][1])

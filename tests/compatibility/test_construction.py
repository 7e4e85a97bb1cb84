"""How models and optimizers come to be: on meta, from memory-mapped files, moved afterwards."""

from pathlib import Path

import pytest
import torch
from torch import nn

from interpretable_sgd import InterpretableSGD
from tests.models import MLP, Batch, mlp, same, train, weights


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
def test_models_built_on_meta(batches: list[Batch]) -> None:
    with torch.device("meta"):
        model = mlp()
    assert model[0].weight.is_meta
    model.to_empty(device="cpu")
    model.load_state_dict(MLP.model().state_dict())
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, horizon=0)
    twin = MLP.model()
    train(model, optimizer, batches)
    train(twin, InterpretableSGD(twin.parameters(), lr=0.1, horizon=0), batches)
    assert same(model.parameters(), twin.parameters())


@pytest.mark.row(
    "Construction", "weights memory-mapped from a file (`torch.load(mmap=True)`)", "file unchanged"
)
def test_memory_mapped_weights(tmp_path: Path, batches: list[Batch]) -> None:
    path = tmp_path / "model.pt"
    torch.save(MLP.model(seed=3).state_dict(), path)
    before = path.read_bytes()
    model, twin = MLP.model(), MLP.model(seed=3)
    model.load_state_dict(torch.load(path, mmap=True, weights_only=True), assign=True)
    train(model, InterpretableSGD(model.parameters(), lr=0.1, horizon=0), batches)
    train(twin, InterpretableSGD(twin.parameters(), lr=0.1, horizon=0), batches)
    assert same(model.parameters(), twin.parameters())
    assert path.read_bytes() == before


@pytest.mark.row(
    "State",
    "a model's dtype changed after steps (`model.double()`)",
    "statistics stay float32, and lead on",
)
@pytest.mark.parametrize("kernel", [{"foreach": False}, {"foreach": True}], ids=["loop", "foreach"])
def test_dtypes_may_change_during_training(kernel: dict[str, bool]) -> None:
    batches = MLP.batches(6)
    wide = [(x.double(), y) for x, y in batches]
    results = []
    for kind, options in (
        (InterpretableSGD, {"block_size": 1000}),
        (torch.optim.SGD, {}),
        (InterpretableSGD, {"block_size": 3, "horizon": 0}),
    ):
        model = MLP.model()
        optimizer = kind(model.parameters(), lr=0.1, momentum=0.9, **kernel, **options)
        train(model, optimizer, batches[:3])
        train(model.double(), optimizer, wide[3:])
        results.append(weights(model))
    assert same(results[0], results[1])
    ((_, units),) = optimizer.routed_units().items()
    state = optimizer.state[model[2].weight]
    assert state["moments"].dtype == torch.float32 and state["routed_steps"] == 6
    assert units.selected.max() < 1 or units.selected.min() < 1
    assert all(weight.isfinite().all() for weight in results[2])


@pytest.mark.row("State", "a model moved to another device after steps", "statistics follow")
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_devices_may_change_during_training(batches: list[Batch]) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, horizon=0)
    train(model, optimizer, batches)
    train(model.cuda(), optimizer, [(x.cuda(), y.cuda()) for x, y in batches])
    assert optimizer.state[model[2].weight]["moments"].is_cuda
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.row(
    "Training loop",
    "any number of threads",
    "the same masks; weights to rounding, as products round differently in other numbers of threads",
)
def test_masks_do_not_depend_on_the_number_of_threads() -> None:
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 32))
            options = {"lr": 0.05, "layers": "all", "horizon": 4}
            optimizer = InterpretableSGD(model.parameters(), **options)
            generator = torch.Generator().manual_seed(1)
            data = torch.rand(256, 64, generator=generator), torch.arange(256) % 32
            train(model, optimizer, [data] * 6)
            units = optimizer.routed_units().values()
            results.append((weights(model), [read.selected for read in units]))
    finally:
        torch.set_num_threads(before)
    for other, selected in results[1:]:
        assert same(results[0][1], selected)
        for left, right in zip(results[0][0], other, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-5)
    assert all((selected < 1).any() for selected in results[0][1])

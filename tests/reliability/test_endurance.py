"""Many steps and many optimizers: memory stays flat, nothing piles up."""

import gc
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer.probes import PROBE
from tests.conftest import global_hooks
from tests.models import MLP, train

STATM = Path("/proc/self/statm")
MODES = {
    "routed": {"brake": 10, "form": 20, "settle": 10**6},
    "settled": {"brake": 10, "form": 20, "settle": 40},
    "shared": {"method": "shared", "form": 50},
    "algorithm3": {"method": "algorithm3"},
}
measurable = pytest.mark.skipif(not STATM.exists(), reason="needs /proc to read the memory held")
quiet = pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")
modes = pytest.mark.parametrize("options", MODES.values(), ids=list(MODES))


def resident() -> int:
    """Bytes of memory that the process holds."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(values: list[int], steps: int) -> float:
    """Bytes per step, by least squares over readings at even distances."""
    return float(np.polyfit(np.linspace(0, steps, len(values)), values, 1)[0])


def flat(steps: int, options: dict, most: float) -> None:
    """No growth of Python's or the process's memory over the second half of so many steps.

    A kept tensor, hook or graph would be 100 bytes a step or more; readings of RSS come in pages.
    torch replaces objects that it keeps for some thousand steps: a growth of 20 kB in all (9 kB under
    torch.optim.SGD), which is 1.4 bytes a step over 12,800 steps, and up to 27 over 1,600.

    Args:
        steps: of the whole run.
        options: of the optimizer.
        most: bytes a step of Python's memory.
    """
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.01, momentum=0.9, layers="all", **options)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, 0.5, steps)
    batches = MLP.batches(4)
    # From the start: objects that torch keeps and replaces would else count once they are replaced.
    tracemalloc.start()
    train(model, optimizer, batches * (steps // 8), scheduler.step)
    readings = 20
    traced, held = [], []
    for _ in range(readings):
        train(model, optimizer, batches * (steps // 8 // readings), scheduler.step)
        gc.collect()
        traced.append(tracemalloc.get_traced_memory()[0])
        held.append(resident())
    tracemalloc.stop()
    measured = steps // 8 // readings * 4 * readings
    # The first readings hold what tracing itself and caches come to.
    assert slope(traced[readings // 4 :], measured * 3 // 4) < most
    assert slope(held[readings // 4 :], measured * 3 // 4) < 50


def test_the_measurement_sees_a_leak() -> None:
    kept: list[bytes] = []
    tracemalloc.start()
    readings = []
    for _ in range(20):
        kept.extend(bytes(100) for _ in range(50))
        readings.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert slope(readings, 20 * 50) > 100


@pytest.mark.slow
@measurable
@quiet
@modes
def test_memory_is_flat_over_some_steps(options: dict) -> None:
    flat(1_600, options, most=50)


@pytest.mark.nightly
@measurable
@quiet
@modes
def test_memory_is_flat_over_100_000_steps(options: dict) -> None:
    flat(100_000, options, most=10)


@pytest.mark.parametrize("ends", ["dropped", "detached", "before its first step"])
def test_no_hook_is_left_of_1000_optimizers(ends: str) -> None:
    """Without the garbage collector's help, as in a notebook cell that runs again and again."""
    model, (x, y) = MLP.model(), MLP.batches(1)[0]
    expected = model(x)
    gc.collect()
    gc.disable()
    try:
        for number in range(1000):
            optimizer = InterpretableSGD(model.parameters(), lr=0.0)
            if number % 2:
                optimizer.attach(model)
            if ends != "before its first step":
                cross_entropy(model(x), y).backward()
                optimizer.step()
            if ends == "detached":
                optimizer.detach()
            del optimizer
        assert global_hooks() == 0
        objects = sum(isinstance(held, InterpretableSGD) for held in gc.get_objects())
        assert objects == 0
    finally:
        gc.enable()
    assert [type(layer) for layer in model] == [nn.Linear, nn.ReLU, nn.Linear]
    assert not any(
        hooks for layer in model for hooks in (layer._forward_hooks, layer._backward_hooks)
    )
    assert not any(PROBE in vars(layer) for layer in model)
    assert torch.equal(model(x), expected)

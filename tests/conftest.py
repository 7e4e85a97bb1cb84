"""What every test starts from, and what none may leave behind."""

import gc
import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import nn
from torch.nn.modules import module as torch_modules

from interpretable_sgd.optimizer.probes import PROBE
from tests.models import CASES, MLP, Batch, Case

# `pytest --hypothesis-profile=nightly` draws more, and others in every run.
_quiet = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("ci", max_examples=500, derandomize=True, **_quiet)
settings.register_profile("nightly", max_examples=10_000, **_quiet)
settings.load_profile("ci")

# A job that a shell starts in the background ignores Ctrl-C, which some tests send to themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked nightly, unless asked for by name or mark."""
    if "nightly" in config.option.markexpr or any("::" in arg for arg in config.args):
        return
    nightly = [item for item in items if item.get_closest_marker("nightly")]
    config.hook.pytest_deselected(items=nightly)
    items[:] = [item for item in items if item not in nightly]


def global_hooks() -> int:
    """Forward hooks that are set on all modules of the process."""
    hooks = (torch_modules._global_forward_hooks, torch_modules._global_forward_pre_hooks)
    return sum(map(len, hooks))


def hooked(model: nn.Module) -> list[str]:
    """Names of the modules that carry anything of an optimizer's."""
    return [
        name or type(module).__name__
        for name, module in model.named_modules()
        if PROBE in vars(module) or module._forward_hooks or module._forward_pre_hooks
    ]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_hooks_left() -> Iterator[None]:
    yield
    if global_hooks():
        gc.collect()
    left = global_hooks()
    for hooks in (torch_modules._global_forward_hooks, torch_modules._global_forward_pre_hooks):
        hooks.clear()
    assert not left, f"{left} global forward hooks outlived the optimizers of this test"


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def model() -> nn.Module:
    return MLP.model()


@pytest.fixture
def batches() -> list[Batch]:
    return MLP.batches()

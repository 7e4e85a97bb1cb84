"""Runs that take a second: the true code on few, small images."""

from dataclasses import replace

import pytest
import torch

from experiments.evaluation.sparse_heads import PostHoc
from experiments.methods import DENSE, OURS
from experiments.models.registry import Model
from experiments.recipes import Recipe
from experiments.run import Environment, Protocol, Run

DATA = "scenes:size=16,classes=4,concepts=6,train=48,validation=20,test=24"
QUICK = Recipe(epochs=2, batch=8)
STRENGTHS = (0.05, 0.005)
PROTOCOL = Protocol(watched=16, looked=16, dissected=20, shown=8)
SMALL = Model("resnet18", {"share": 0.125, "blocks": 1}, "resnet18")


@pytest.fixture
def one_thread():
    """As `run` has it: the last digits of a result depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def planned(method=OURS, seed=0, data=DATA, protocol=PROTOCOL, model=SMALL, **recipe):
    """A run of a second; the dense network's has heads fitted afterwards."""
    if method == DENSE and protocol == PROTOCOL:
        protocol = replace(protocol, post_hoc=PostHoc(STRENGTHS, 48))
    return Run(data, model, method, QUICK.changed(recipe), protocol, "tiny", seed)


@pytest.fixture
def environment(tmp_path, one_thread):
    """A folder of results in the test's own."""
    return Environment(tmp_path / "out")

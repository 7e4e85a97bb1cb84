"""Computed bytes against those that two ranks really reduce."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

pytest.importorskip("torchvision")

from experiments.bench import communication
from interpretable_sgd import InterpretableSGD
from tests.ranks import spawned

CASES: dict[str, dict[str, Any]] = {
    "head": {"layers": "head"},
    "all": {"layers": "all"},
    "shared": {"layers": "all", "method": "shared"},
    "Algorithm 3": {"layers": "head", "method": "algorithm3"},
}


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.ReLU(),
        nn.Conv2d(4, 6, 2, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 9, 5),
    )


def reduced(options: dict[str, Any]) -> dict[str, int]:
    """Bytes of the gradients, and of all that a step reduces, the second one of a run."""
    model, bytes_of = net(), {"gradients": 0, "all": 0}
    wrapped = DistributedDataParallel(model)

    def hook(state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        bytes_of["gradients"] += bucket.buffer().nbytes
        return allreduce_hook(None, bucket)

    wrapped.register_comm_hook(None, hook)
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, block_size=2, form=0, **options)
    reduce = dist.all_reduce

    def counted(tensor: Tensor, *args: Any, **options: Any) -> Any:
        bytes_of["all"] += tensor.nbytes
        return reduce(tensor, *args, **options)

    dist.all_reduce = counted
    try:
        for _ in range(2):
            bytes_of.update({"gradients": 0, "all": 0})
            optimizer.zero_grad()
            cross_entropy(wrapped(torch.rand(4, 2, 6, 6)), torch.arange(4)).backward()
            optimizer.step()
    finally:
        dist.all_reduce = reduce
    return bytes_of


def process(rank: int) -> dict[str, Any]:
    return {name: reduced(options) for name, options in CASES.items()}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return spawned(process, tmp_path_factory.mktemp("counted"))[0]


@pytest.mark.parametrize("name", CASES)
def test_computed_bytes_are_those_reduced(name: str, counted: dict[str, Any]) -> None:
    options = CASES[name]
    found = communication.layers(net(), options.get("method", "routed"))
    routed = found if options["layers"] == "all" else found[-1:]
    gradients = communication.gradient_bytes(net())
    statistics = sum(layer.statistic for layer in routed)
    assert counted[name] == {"gradients": gradients, "all": gradients + statistics}
    assert statistics > 0


def test_the_claims_of_its_first_lines_hold(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "deep/answer.json"
    assert communication.main(["--layers", "--out", str(out)]) == 0
    for table in json.loads(out.read_text()).values():
        assert table["none: plain DDP"]["ratio"] == 1
        assert 1 < table["head"]["ratio"] < 1.25
        assert 3.9 < table["all"]["ratio"] < 4
    said = capsys.readouterr().out
    assert "| conv1 | 64 x 3 x 7 x 7 | 0.04 | 0.11 |" in said


@pytest.mark.parametrize("name", ["classes", "ranks"])
def test_bad_arguments(name: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        communication.main([f"--{name}", "0"])
    assert f"--{name}: must be at least 1, got 0" in capsys.readouterr().err


def test_under_torchrun_a_command_says_all_before_it_leaves() -> None:
    """It ends without finalizing its interpreter there."""
    command = [sys.executable, "-m", "experiments", "bench", "communication"]
    environment = os.environ | {"RANK": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.rstrip().endswith("762.80 |")

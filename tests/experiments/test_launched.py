"""Two ranks train a run together: one record, of the numbers that one process alone gets."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from experiments import store
from experiments.run import Environment
from tests.experiments.launched import PLANNED

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.mark.slow
@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_two_ranks_write_one_record_of_what_one_process_gets(tmp_path, one_thread):
    together, alone = tmp_path / "together", Environment(tmp_path / "alone")
    module = ["-m", "tests.experiments.launched", str(together)]
    ended = subprocess.run(
        [sys.executable, *TORCHRUN, *module],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.split("\n")
    assert [said.count(f"{rank} trained") for rank in (0, 1)] == [1, 1]
    assert [said.count(f"{rank} kept") for rank in (0, 1)] == [1, 1]
    (ours,) = store.load(together)
    theirs = PLANNED.train(alone)
    assert ours["hash"] == theirs["hash"] and ours["hardware"]["ranks"] == 2
    assert ours["steps"] == theirs["steps"] and len(ours["epochs"]) == 3
    losses = [[epoch["loss"] for epoch in run["epochs"][1:]] for run in (ours, theirs)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    weights, wanted = ours.weights(), theirs.weights()
    for name in wanted:
        torch.testing.assert_close(weights[name], wanted[name], rtol=1e-2, atol=1e-3)

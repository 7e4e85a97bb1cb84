"""A real torchrun: a rank is killed, a rank fails, the launcher is told to stop."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from experiments.training import checkpoints
from tests.experiments.training import together

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not dist.is_available(), reason="torch without distributed"),
]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
TIMEOUT = 240


def launch(folder: Path, wish: str, *options: str) -> "subprocess.Popen[str]":
    module = ["-m", "tests.experiments.training.launched", str(folder), wish]
    return subprocess.Popen(
        [sys.executable, *TORCHRUN, *options, *module],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def test_a_killed_rank_is_started_again_and_the_run_ends_as_if_nothing_had_been(
    tmp_path: Path,
) -> None:
    process = launch(tmp_path, "kill", "--max-restarts=1")
    said, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, said
    # Which rank torchrun calls the first to fail depends on who is seen first: not looked at.
    assert (tmp_path / "killed").exists()
    found, straight = checkpoints.latest(tmp_path), together.training()
    straight.run()
    wanted = straight.snapshot()
    assert found is not None and found.step == wanted.step == 20
    for name, tensor in wanted.weights.items():
        torch.testing.assert_close(found.weights[name], tensor, rtol=1e-4, atol=1e-5)


def test_it_is_said_which_rank_failed_and_how(tmp_path: Path) -> None:
    process = launch(tmp_path, "raise")
    said, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    cause = r"rank 1 of 2 on \S+ failed: ValueError: the disk is on fire"
    assert re.search(f"RankError: {cause}", said), said
    summary = said.partition("Root Cause")[2]
    assert re.search(r"rank +: 1 ", summary) and "ValueError: the disk is on fire" in summary
    latest = checkpoints.latest(tmp_path)
    assert latest is not None and latest.step == 6


def test_the_launcher_is_told_to_stop(tmp_path: Path) -> None:
    """As a scheduler does; torchrun passes it on, the ranks finish their step and save."""
    process = launch(tmp_path, "train")
    deadline = time.monotonic() + TIMEOUT
    while not checkpoints.listed(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode != 0, said
    assert "KeyboardInterrupt" in said
    stopped = checkpoints.latest(tmp_path)
    assert stopped is not None and stopped.step >= 3

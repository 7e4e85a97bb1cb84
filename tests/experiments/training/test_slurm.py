"""The Slurm script with commands in place of Slurm's that say what they were asked."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "experiments/training/slurm.sbatch"
STUBS = {
    "scontrol": 'echo "scontrol $*" >> "$SAID"; [[ $1 != show ]] || printf "node7\\nnode8\\n"',
    "srun": 'echo "srun $*" >> "$SAID"; trap "exit 143" TERM; sleep "$LASTS" & wait $!; exit "$ENDS"',
}
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment of a job of two nodes with four devices each."""
    for name, body in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    return {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "SAID": str(tmp_path / "said"),
        "LASTS": "0",
        "ENDS": "0",
        "SLURM_JOB_ID": "42",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
    }


def run(job: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["bash", str(SCRIPT), "run", "table1", "--scale", "paper"], env=job)


def said(job: dict[str, str]) -> str:
    path = Path(job["SAID"])
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("status", ["0", "3"])
def test_it_starts_every_node_and_ends_as_they_do(job: dict[str, str], status: str) -> None:
    assert run(job | {"ENDS": status}).wait(20) == int(status)
    for option in (
        "torchrun",
        "--nnodes=1:2",
        "--nproc-per-node=4",
        "--rdzv-id=42-0",
        "--rdzv-endpoint=node7:29400",
        "-m experiments run table1 --scale paper",
    ):
        assert f" {option}" in said(job)
    assert "requeue" not in said(job)


def test_it_queues_itself_again_before_its_time_is_up(job: dict[str, str]) -> None:
    process = run(job | {"LASTS": "20"})
    deadline = time.monotonic() + 20
    while "srun" not in said(job) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # until the stub minds the signal
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert said(job).endswith("scontrol requeue 42\n")


def test_another_start_meets_elsewhere(job: dict[str, str]) -> None:
    assert run(job | {"SLURM_RESTART_COUNT": "2"}).wait(20) == 0
    assert "--rdzv-id=42-2" in said(job)

"""A stand-in is written once and whole, however many processes want it and whoever is killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.datasets.presets import written

ROOT = Path(__file__).parents[3]
WRITER = """
import os, sys, time
from pathlib import Path
from experiments.datasets.presets import written

parent, log, killed = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "killed"

def write(folder):
    with log.open("a") as file:
        file.write("begun\\n")
    (folder / "half").write_text("1")
    time.sleep(0.3)
    if killed:
        os._exit(9)
    (folder / "whole").write_text("2")

print(sorted(p.name for p in written(parent, "data", {"n": 1}, write).iterdir()))
"""


def start(parent, log, fate):
    command = [sys.executable, "-c", WRITER, str(parent), str(log), fate]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_one_writes(tmp_path):
    both = [start(tmp_path / "data", tmp_path / "log", "lives") for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert said == ["['half', 'whole']\n"] * 2
    assert (tmp_path / "log").read_text() == "begun\n"


def test_a_killed_one_leaves_nothing_that_counts(tmp_path):
    killed = start(tmp_path / "data", tmp_path / "log", "killed")
    killed.communicate(timeout=60)
    assert killed.returncode == 9
    assert not [p for p in (tmp_path / "data").iterdir() if not p.name.startswith(".")]
    next_one = start(tmp_path / "data", tmp_path / "log", "lives")
    assert next_one.communicate(timeout=60)[0] == "['half', 'whole']\n"
    assert (tmp_path / "log").read_text() == "begun\nbegun\n"


def test_parameters_are_the_key(tmp_path):
    folders = [written(tmp_path, "data", {"n": n}, lambda p: None) for n in (1, 2, 1)]
    assert folders[0] == folders[2] != folders[1]
    assert all(folder.is_dir() and folder.name.startswith("data-") for folder in folders)


def test_an_error_while_writing_leaves_nothing(tmp_path):
    def write(folder):
        (folder / "half").write_text("1")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        written(tmp_path, "data", {}, write)
    assert not [p for p in tmp_path.iterdir() if not p.name.endswith(".lock")]

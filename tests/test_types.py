"""The library is typed, strictly; `[mypy]` in setup.cfg says how."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_library_is_typed() -> None:
    pytest.importorskip("mypy")
    mypy = [sys.executable, "-m", "mypy"]
    checked = subprocess.run(mypy, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr

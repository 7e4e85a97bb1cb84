"""docs/compatibility.md is what the rows say now."""

import subprocess
import sys

import pytest

from tests.compatibility.page import PAGE, ROOT, Row, Rows, last_run, text


@pytest.mark.slow
def test_the_page_is_up_to_date() -> None:
    command = [sys.executable, "-m", "tests.compatibility", "--check"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout[-500:] + checked.stderr[-2000:]


def test_every_row_of_the_last_run_ran_or_says_why_not() -> None:
    run = PAGE.read_text().partition("## Last run")[2]
    assert "rows ran and passed" in run
    reasons = [line for line in run.splitlines() if line.startswith("- ")]
    assert all("CUDA" in line for line in reasons), reasons


def test_rows_are_checked() -> None:
    """A theme or an answer that the page does not know is an error, not a missing line."""
    with pytest.raises(AssertionError, match="'Weather' is no theme"):
        Row.of(pytest.mark.row("Weather", "rain", "wet").mark, "tests/test_a.py::test_b")
    with pytest.raises(AssertionError, match="'perhaps' is no answer"):
        mark = pytest.mark.row("State", "rain", "wet", answer="perhaps").mark
        Row.of(mark, "tests/test_a.py::test_b")


def test_what_did_not_run_is_named() -> None:
    ran = Row("State", "one", "it is", "works", "tests/test_a.py::test_one", ["passed"])
    not_run = Row(
        "State", "two", "it is not", "works", "tests/test_a.py::test_two", ["skipped"], {"no GPU"}
    )
    plugin = Rows()
    assert plugin.rows == {}
    assert "| one | works | it is | [test_one](../tests/test_a.py) |" in text([ran, not_run])
    assert "1 of 2 rows ran" in last_run([ran, not_run])
    assert "- two: no GPU" in last_run([ran, not_run])

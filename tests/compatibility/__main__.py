"""`python -m tests.compatibility` runs all rows and writes docs/compatibility.md; `--check` compares."""

import sys

import pytest

from tests.compatibility.page import FOOT, PAGE, ROOT, Rows, last_run, text


def main() -> int:
    check = "--check" in sys.argv[1:]
    plugin = Rows()
    # No doctests: rows are test functions.
    arguments = ["-q", "-m", "row", "-p", "no:doctest", "-o", "addopts=--import-mode=importlib"]
    arguments += ["--collect-only"] if check else []
    ended = pytest.main([*arguments, str(ROOT / "tests")], plugins=[plugin])
    if ended:
        return int(ended)
    rows = plugin.rows.values()
    if check:
        written = PAGE.read_text().partition(FOOT)[0]
        if written != text(rows):
            print("docs/compatibility.md is out of date: run python -m tests.compatibility")
            return 1
        return 0
    PAGE.write_text(text(rows) + last_run(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

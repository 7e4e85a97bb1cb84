"""The page of rows: what a run of the marked tests says about living inside PyTorch.

A test becomes a row by `@pytest.mark.row(theme, what, how)`, or with `answer=`, one of `ANSWERS`.
All cases of a parametrised test are one row.
"""

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/compatibility.md"
THEMES = (
    "Construction",
    "Training loop",
    "Layers and models",
    "Compilers and transforms",
    "Several processes",
    "State",
    "Torch's own checks",
    "Frameworks",
)
ANSWERS = {
    "works": "as with `torch.optim.SGD`, and routed",
    "plain": "trained by plain SGD, which a warning says where something was to be routed",
    "error": "an error that says what to do instead; nothing is updated",
}
PACKAGES = ("torch", "torchvision", "lightning", "accelerate", "transformers", "timm", "peft")
HEAD = """# Compatibility

Every row is a test that runs the real thing. `python -m tests.compatibility` runs them all and writes this page, and a
test fails when it is out of date. Which torch and which Python: [versions](versions.md). The answers:

{answers}

"""
FOOT = "## Last run"


@dataclass
class Row:
    """One test of the table, and how its cases ended."""

    theme: str
    what: str
    how: str
    answer: str
    test: str
    outcomes: list[str] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, mark: pytest.Mark, test: str) -> "Row":
        theme, what, how = mark.args
        answer = mark.kwargs.get("answer", "works")
        assert theme in THEMES, f"{test}: {theme!r} is no theme"
        assert answer in ANSWERS, f"{test}: {answer!r} is no answer"
        return cls(theme, what, how, answer, test)

    def __str__(self) -> str:
        file, _, name = self.test.partition("::")
        return f"| {self.what} | {self.answer} | {self.how} | [{name}](../{file}) |"


class Rows:
    """A pytest plugin that collects the rows of the tests, and how they end."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            mark = item.get_closest_marker("row")
            if mark is not None:
                test = re.sub(r"\[.*", "", item.nodeid)
                self.rows.setdefault(test, Row.of(mark, test))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        row = self.rows.get(re.sub(r"\[.*", "", report.nodeid))
        if row is not None and (report.when == "call" or not report.passed):
            row.outcomes.append(report.outcome)
            if report.skipped:
                row.reasons.add(str(report.longrepr[2]).removeprefix("Skipped: "))


def text(rows: Iterable[Row]) -> str:
    """All of the page that does not depend on the machine."""
    by_theme: dict[str, list[Row]] = {theme: [] for theme in THEMES}
    for row in rows:
        by_theme[row.theme].append(row)
    answers = "\n".join(f"- *{answer}*: {meaning};" for answer, meaning in ANSWERS.items())
    parts = [HEAD.format(answers=answers.removesuffix(";") + ".")]
    for theme, members in by_theme.items():
        lines = "\n".join(map(str, members))
        parts.append(
            f"## {theme}\n\n| what | answer | how | test |\n|---|---|---|---|\n{lines}\n\n"
        )
    return "".join(parts)


def last_run(rows: Iterable[Row]) -> str:
    """What ran where, and what could not."""
    rows = list(rows)
    skipped = [row for row in rows if set(row.outcomes) == {"skipped"}]
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    lines = [f"- {row.what}: {'; '.join(sorted(row.reasons))}" for row in skipped]
    summary = (
        f"{len(rows) - len(skipped)} of {len(rows)} rows ran and passed, on {platform.system()} with "
        f"{', '.join(versions)}."
    )
    missing = "\n\nNot run there:\n\n" + "\n".join(lines) if lines else ""
    return f"{FOOT}\n\n{summary}{missing}\n"

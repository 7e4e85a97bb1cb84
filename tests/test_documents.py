"""Documents say what is so: their Python runs, their links lead somewhere, their commands are CI's.

Doctests of the modules are collected by pytest itself (`--doctest-modules` in setup.cfg).
"""

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import Parameter
from torch.optim import SGD

from interpretable_sgd import InterpretableSGD

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"\[`(\w+)\.(\w+)`\]\([./]*/interpretable_sgd/(\w+)\.py\)")
NEEDED = {"docs/how-to/lightning.md": "lightning"}
OPTIONS = ROOT / "docs/optimizer.md"
MODES: list[dict[str, Any]] = [
    {},
    {"mask": "per-sample"},
    {"correction": "unbiased"},
    {"probabilities": "paper"},
]
COMMANDS = (
    "pip install -e '.[all]' && python -m experiments demo",
    "pip install -e '.[all]' && pytest",
)


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def blocks_of(document: Path) -> list[re.Match[str]]:
    return list(BLOCK.finditer(document.read_text()))


@pytest.mark.filterwarnings("ignore:masks per sample")
@pytest.mark.parametrize("document", list(filter(blocks_of, DOCUMENTS)), ids=name_of)
def test_python_of_a_document_runs(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a document are one program, in order; a failure names its line."""
    if name_of(document) in NEEDED:
        pytest.importorskip(NEEDED[name_of(document)], reason="the extra `frameworks` brings it")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__document__"}
    for block in blocks_of(document):
        above = block.string.count("\n", 0, block.start(1))
        exec(compile("\n" * above + block.group(1), str(document), "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for target, anchor in LINK.findall(FENCE.sub("", document.read_text())):
        file = document.parent / target if target else document
        assert file.exists(), f"{name_of(document)} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{name_of(document)} links to {target}#{anchor}"


def anchors(document: Path) -> set[str]:
    """Of the headings, as git hosts make them: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_anchors_are_those_of_a_git_host(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# The curvature $h$\n```\n# no heading\n```\n## CE3: it can `diverge`\n")
    assert anchors(page) == {"the-curvature-h", "ce3-it-can-diverge"}


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_gives_the_two_commands(command: str) -> None:
    assert command in (ROOT / "README.md").read_text().splitlines()


def test_continuous_integration_runs_the_readme() -> None:
    assert COMMANDS[1] in (ROOT / ".ci/run").read_text().splitlines()


def test_functions_that_documents_link_to_exist() -> None:
    links = [link for document in DOCUMENTS for link in CODE.findall(document.read_text())]
    assert links
    for module, name, file in links:
        assert module == file
        assert hasattr(importlib.import_module(f"interpretable_sgd.{module}"), name), name


def test_every_option_is_documented_with_its_default() -> None:
    shared = inspect.signature(SGD).parameters
    options = {
        name: parameter.default
        for name, parameter in inspect.signature(InterpretableSGD).parameters.items()
        if name not in shared
    }
    documented = rows(OPTIONS, columns=4)
    assert list(documented) == list(options)
    for name, (*_, default) in documented.items():
        assert literal(default) == options[name], name


def test_defaults_by_mode_are_documented() -> None:
    parameter = Parameter(torch.zeros(1, 1))
    documented = rows(OPTIONS, columns=5)
    assert documented
    for column, mode in enumerate(MODES):
        group = InterpretableSGD([parameter], **mode).param_groups[0]
        for name, defaults in documented.items():
            assert literal(defaults[column]) == group[name], (name, mode)


def rows(document: Path, columns: int) -> dict[str, list[str]]:
    """Rows of the tables with so many columns, by the code in their first cell."""
    lines = re.findall(r"^\| `(\w+)` \|(.*)\|$", document.read_text(), re.MULTILINE)
    split = [(name, re.split(r"\s\|\s", rest.strip())) for name, rest in lines]
    return {name: cells for name, cells in split if len(cells) == columns - 1}


def literal(cell: str) -> object:
    """The value that a cell of a table starts with, as code."""
    return ast.literal_eval(cell.strip().split("`")[1])

"""Documents say what is so: their Python runs, their links lead somewhere, their commands are CI's.

Doctests of the modules are collected by pytest itself (`--doctest-modules` in setup.cfg).
"""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
from torch.optim import SGD

from interpretable_sgd import InterpretableSGD
from tests.documents import BLOCK, run, words

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"\[`(\w+)\.(\w+)`\]\([./]*/(interpretable_sgd/[\w/]+)\.py\)")
NEEDED = {"docs/how-to/lightning.md": "lightning"}
OPTIONS = ROOT / "docs/optimizer.md"
COMMANDS = (
    "pip install -e '.[all]' && python -m experiments demo",
    "pip install -e '.[all]' && pytest",
)


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def blocks_of(document: Path) -> list[re.Match[str]]:
    return list(BLOCK.finditer(document.read_text()))


@pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")
@pytest.mark.parametrize("document", list(filter(blocks_of, DOCUMENTS)), ids=name_of)
def test_python_of_a_document_runs_and_prints_what_it_says(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a document are one program, in order; a failure names its line."""
    if name_of(document) in NEEDED:
        pytest.importorskip(NEEDED[name_of(document)], reason="the extra `frameworks` brings it")
    monkeypatch.chdir(tmp_path)
    for one in run(document):
        line = one.block.string.count("\n", 0, one.block.start("code"))
        assert one.agrees, f"line {line}: shown {one.block['output']!r}, printed {one.printed!r}"


def test_measured_numbers_may_differ_and_words_may_not() -> None:
    assert words("unit  3: +1.25, [1, 2, 3]") == words("unit 12: -.5e-3, [4, 5]")
    assert words("unit 3: 1\nunit 4: 2\nbias") == words("unit 5: 3\nbias")
    assert words("unit 3") != words("units 3")


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
        assert module == Path(file).name
        assert hasattr(importlib.import_module(file.replace("/", ".")), name), name


def test_every_option_is_documented_with_its_default() -> None:
    shared = inspect.signature(SGD).parameters
    options = {
        name: parameter.default
        for name, parameter in inspect.signature(InterpretableSGD).parameters.items()
        if name not in shared
    }
    documented = rows(OPTIONS, columns=4)
    assert documented.keys() == options.keys()
    for name, (*_, default) in documented.items():
        assert literal(default) == options[name], name


def rows(document: Path, columns: int) -> dict[str, list[str]]:
    """Rows of the tables with so many columns, by the code in their first cell."""
    lines = re.findall(r"^\| `(\w+)` \|(.*)\|$", document.read_text(), re.MULTILINE)
    split = [(name, re.split(r"\s\|\s", rest.strip())) for name, rest in lines]
    return {name: cells for name, cells in split if len(cells) == columns - 1}


def literal(cell: str) -> object:
    """The value that a cell of a table starts with, as code."""
    return ast.literal_eval(cell.strip().split("`")[1])

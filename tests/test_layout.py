"""Tests lie where what they test lies, and are named for it; so does the tree that the docs show."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
MIRRORED = {
    # Folder of tests: the folder it mirrors.
    **{
        room: f"interpretable_sgd/{room}"
        for room in ("optimizer", "layers", "convergence", "analysis", "report")
    },
    "theory": "theory",
    "experiments": "experiments",
}
WHOLE = {
    # Of several modules together, as a user starts them.
    "experiments/research/test_questions.py",
    "experiments/training/test_kill.py",
    "experiments/training/test_slurm.py",
    "experiments/training/test_torchrun.py",
}


def mirrored() -> list[str]:
    return [
        str(path.relative_to(TESTS))
        for room in MIRRORED
        for path in sorted((TESTS / room).rglob("test_*.py"))
    ]


def named_for(name: str) -> list[Path]:
    """Modules, and helpers of the tests, that a test's name begins with."""
    path = Path(name)
    source = ROOT / MIRRORED[path.parts[0]] / Path(*path.parent.parts[1:])
    own = f"{path.stem.removeprefix('test_')}_"
    beside = [*source.glob("*.py"), *(TESTS / path.parent).glob("[!t]*.py")]
    return [module for module in beside if own.startswith(f"{module.stem.strip('_')}_")]


@pytest.mark.parametrize("name", sorted(set(mirrored()) - WHOLE))
def test_a_test_is_named_for_a_module_in_the_folder_that_its_own_mirrors(name: str) -> None:
    assert named_for(name), f"tests/{name} is named for no module: see MIRRORED and WHOLE"


def test_exceptions_are_there_and_are_exceptions() -> None:
    for name in WHOLE:
        assert (TESTS / name).exists() and not named_for(name), name


def test_the_folders_of_the_architecture_are_those_of_the_tree() -> None:
    """The block's indents are folders in folders; nothing is missing, nothing is gone."""
    text = (ROOT / "docs/architecture.md").read_text()
    block = re.search(r"```text folders\n(.*?)```", text, re.DOTALL)
    assert block
    shown, above = set(), []
    for indent, name in re.findall(r"^( *)(\w+)/", block[1], re.MULTILINE):
        above = [*above[: len(indent) // 4], name]
        shown.add("/".join(above))
    packages = {path.split("/")[0] for path in MIRRORED.values()}
    there = {
        str(path.parent.relative_to(ROOT))
        for package in packages
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert shown == there


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_the_picture_of_the_architecture_names_is_there(scheme: str) -> None:
    text = (ROOT / f"docs/pictures/flow-{scheme}.svg").read_text()
    named = re.findall(r">(\w+(?:/\w+)*(?:/|\.py))<", text)
    assert {"optimizer/probes.py", "optimizer/routed.py", "analysis/", "report/"} <= set(named)
    assert all((ROOT / "interpretable_sgd" / name).exists() for name in named)


def test_files_that_the_recipes_name_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:interpretable_sgd|experiments|tests)/[\w/]+\.\w+)`", text)
    assert len(named) > 10
    assert not [name for name in named if not (ROOT / name).exists()]

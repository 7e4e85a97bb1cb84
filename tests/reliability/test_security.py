"""No source loads or runs what it is given: no pickle, no eval, no shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for name in ("interpretable_sgd", "theory", "experiments")
    for path in (ROOT / name).rglob("*.py")
]
MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
CALLS = {"eval", "exec", "compile", "os.system", "os.popen"}


def dotted(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def unsafe(source: str) -> Iterator[str]:
    """What a reader of untrusted data or an attacker could turn into code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            # to write one, or to name the error, runs nothing
            harmless = {"dumps", "UnpicklingError"}
            yield from (str(node.module) for alias in node.names if alias.name not in harmless)
        elif isinstance(node, ast.Call):
            name, given = dotted(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            if name in CALLS:
                yield name
            if name == "torch.load" and given.get("weights_only") != "True":
                yield "torch.load without weights_only=True"
            if given.get("allow_pickle", "False") != "False":
                yield f"{name} with allow_pickle"
            if given.get("shell", "False") != "False":
                yield f"{name} with a shell"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_turns_data_into_code(path: Path) -> None:
    assert not list(unsafe(path.read_text()))


UNSAFE = [
    "import pickle",
    "from joblib import load",
    "from pickle import loads",
    "eval('1')",
    "torch.load(path)",
    "torch.load(path, weights_only=False)",
    "np.load(path, allow_pickle=True)",
    "subprocess.run(line, shell=True)",
]


@pytest.mark.parametrize("source", UNSAFE)
def test_the_search_finds_what_it_forbids(source: str) -> None:
    assert len(list(unsafe(source))) == 1


def test_the_search_lets_safe_code_pass() -> None:
    assert not list(unsafe("torch.load(path, weights_only=True)\nmodel.eval()\nre.compile('a')"))
    assert not list(unsafe("from pickle import dumps"))

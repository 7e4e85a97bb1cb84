"""The wheel: what is in it, what it says of itself, and that it works without the extras."""

import importlib
import shutil
import subprocess
import sys
import textwrap
import venv
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import numpy
import pytest
import torch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
LIBRARY = "interpretable_sgd"
EXTRAS = ("torchvision", "sklearn", "matplotlib", "rich", "scipy", "numba", "PIL", "timm", "jinja2")


def run(*command: str | Path, cwd: Path) -> str:
    finished = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: an old build/ in the tree would leak removed modules into the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    generated = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")
    shutil.copytree(ROOT, folder / "source", ignore=generated)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    run(*build, "--outdir", folder / "dist", folder / "source", cwd=folder)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel, and nothing but torch and numpy."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    (python,) = [*home.glob("bin/python"), *home.glob("Scripts/python.exe")]
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run(*pip, "install", "--no-index", "--no-deps", "--quiet", wheel, cwd=home)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", ask, cwd=home).strip())
    # A path file is read after the environment's own packages, and does not follow others.
    lent = {str(Path(module.__file__ or "").parents[1]) for module in (torch, numpy)}
    (site / "lent.pth").write_text("\n".join(lent))
    return python


def without_extras(environment: Path, code: str) -> str:
    """What the code prints where no extra is found: as if none were installed."""
    blocker = f"""
    import sys
    from importlib.machinery import PathFinder

    class Without(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            absent = name.partition(".")[0] in {EXTRAS!r}
            return None if absent else super().find_spec(name, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = Without
    """
    script = textwrap.dedent(blocker) + textwrap.dedent(code)
    return run(environment, "-c", script, cwd=environment.parent).strip()


def test_wheel_holds_the_library_alone(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = [Path(name) for name in archive.namelist()]
    tops = {name.parts[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {LIBRARY}
    held = {name for name in names if name.parts[0] == LIBRARY}
    sources = {path.relative_to(ROOT) for path in (ROOT / LIBRARY).rglob("*.py")}
    templates = {path.relative_to(ROOT) for path in (ROOT / LIBRARY / "report/templates").iterdir()}
    example = {
        path.relative_to(ROOT)
        for path in (ROOT / LIBRARY / "report/example").iterdir()
        if path.suffix not in (".py", "")
    }
    assert templates and len(example) == 4
    assert held == sources | templates | example | {Path(LIBRARY, "py.typed")}


def test_metadata(metadata: Message) -> None:
    assert metadata["Name"].replace("_", "-") == "interpretable-sgd"
    assert metadata["Requires-Python"] == ">=3.10"
    assert "MIT" in (metadata["License-Expression"] or metadata["License"])
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    required = metadata.get_all("Requires-Dist", [])
    core = {line.split(">")[0].strip() for line in required if "extra ==" not in line}
    assert core == {"torch", "numpy"}
    assert {"all", "experiments", "test"} <= set(metadata.get_all("Provides-Extra", []))


def test_the_console_script_leads_to_a_function(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/entry_points.txt")]
        lines = archive.read(name).decode().split("\n")
    assert "interpretable-sgd = interpretable_sgd.__main__:main" in lines
    assert callable(importlib.import_module("interpretable_sgd.__main__").main)


def test_version_is_the_same_everywhere(metadata: Message) -> None:
    version = metadata["Version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_imports_without_the_extras(environment: Path) -> None:
    """Every public name, and the wheel's files, not those of a checkout."""
    printed = without_extras(
        environment,
        """
        import interpretable_sgd
        for name in interpretable_sgd.__all__:
            getattr(interpretable_sgd, name)
        print(interpretable_sgd.__file__)
        """,
    )
    assert Path(printed).is_relative_to(environment.parents[1])


def test_trains_without_the_extras(environment: Path) -> None:
    printed = without_extras(
        environment,
        """
        import torch
        from interpretable_sgd import InterpretableSGD
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        optimizer = InterpretableSGD(model.parameters(), lr=0.1)
        x, y = torch.randn(16, 4), torch.arange(16) % 3
        for _ in range(3):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(all(bool(p.isfinite().all()) for p in model.parameters()))
        """,
    )
    assert printed == "True"


def test_extras_are_absent_there(environment: Path) -> None:
    """The blocker blocks: otherwise the tests above would show nothing."""
    printed = without_extras(
        environment,
        f"""
        for name in {EXTRAS}:
            try:
                __import__(name)
            except ModuleNotFoundError:
                print(name)
        """,
    )
    assert printed.split() == list(EXTRAS)

"""The core on other versions of Python, torch and numpy: fresh environments, the core's tests, a table.

    python -m tests.matrix lowest                      # this Python, the lowest torch of setup.cfg
    python -m tests.matrix 3.10:torch==2.4.1,numpy==1.26.4 3.13:torch==2.15.0 --write

Each row is an interpreter on the path, `python3.10`, and what pip is to install beside the tests' own
needs. `--keep FOLDER` leaves the environments there, and takes those that are there. `--write` puts the
table into docs/versions.md. The exit status is 1 if a test failed, 3 if nothing could be installed.
"""

import argparse
import configparser
import datetime
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/versions.md"
TABLE = re.compile(r"(?<=<!-- matrix -->\n).*?(?=<!-- end -->)", re.DOTALL)
NEEDS = ("pytest", "hypothesis", "scipy", "expecttest")
CORE = (
    "tests/optimizer/test_phases.py",
    "tests/layers/test_conversion.py",
    "tests/analysis/test_decisions.py",
    "tests/analysis/test_explanation.py",
)
VERSIONS = """
import importlib, platform, numpy, torch, interpretable_sgd as library
public = [library, *(importlib.import_module(f"{library.__name__}.{p}") for p in ("analysis", "convergence"))]
[getattr(package, name) for package in public for name in package.__all__]
print(platform.python_version(), torch.__version__.partition("+")[0], numpy.__version__)
"""


class Row(NamedTuple):
    """An interpreter, and what pip is to install."""

    python: str
    requirements: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Row":
        """Of "3.10:torch==2.4.1,numpy==1.26.4", or of "lowest"."""
        if text == "lowest":
            return cls(sys.executable, lowest())
        python, _, requirements = text.partition(":")
        return cls(f"python{python}", tuple(requirements.split(",")))


class Outcome(NamedTuple):
    """How a row ended: versions, and the last line of the tests; no versions where pip failed."""

    versions: tuple[str, ...]
    said: str
    status: int


def lowest() -> tuple[str, ...]:
    """The lowest torch and numpy that setup.cfg allows, with their patches.

    >>> lowest()
    ('torch==2.4.*', 'numpy==1.26.*')
    """
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    required = config["options"]["install_requires"]
    found = re.findall(r"^(torch|numpy)>=(\d+\.\d+)", required, re.MULTILINE)
    return tuple(f"{name}=={version}.*" for name, version in found)


def ran(row: Row, folder: Path) -> Outcome:
    """The row's tests, in an environment that is made unless it is there."""
    python = folder / "bin/python"
    if not python.exists():
        interpreter = shutil.which(row.python)
        if interpreter is None:
            return Outcome((), f"there is no {row.python}", 3)
        subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *row.requirements, *NEEDS]
        if subprocess.run(install).returncode:
            return Outcome((), f"pip found no {' '.join(row.requirements)}", 3)
    asked = subprocess.run([str(python), "-c", VERSIONS], cwd=ROOT, capture_output=True, text=True)
    if asked.returncode:
        return Outcome((), asked.stderr.strip().splitlines()[-1], 1)
    # of the repository's options, those for all of its tests are left out
    pytest = [str(python), "-m", "pytest", "-q", "-o", "addopts=--import-mode=importlib", *CORE]
    tests = subprocess.run(pytest, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    lines = tests.stdout.strip().splitlines()
    if tests.returncode:
        print(tests.stdout[-5000:])
    said = re.sub(r" in \d.*|=+ ?", "", lines[-1])
    return Outcome(tuple(asked.stdout.split()), said, tests.returncode)


def table(outcomes: list[Outcome]) -> str:
    """What ran where, in Markdown."""
    lines = [f"| {' | '.join(o.versions)} | {o.said} |" for o in outcomes if o.versions]
    heading = "| Python | torch | numpy | what came out |\n|---|---|---|---|\n"
    day = datetime.date.today()
    where = f"On {platform.system()}, {day.day} {day:%B %Y}, on a CPU:\n\n"
    return f"\n{where}{heading}{chr(10).join(lines)}\n\n"


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("rows", nargs="+", type=Row.of, metavar="PYTHON:REQUIREMENTS")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for the environments")
    parser.add_argument("--write", action="store_true", help=f"the table into {PAGE.name}")
    args = parser.parse_args()
    outcomes = []
    for row in args.rows:
        with tempfile.TemporaryDirectory() as place:
            name = "-".join((Path(row.python).name, *row.requirements))
            outcomes.append(ran(row, (args.keep or Path(place)) / name))
        print(row.python, *row.requirements, outcomes[-1].said, flush=True)
    if args.write:
        PAGE.write_text(TABLE.sub(lambda _: table(outcomes), PAGE.read_text()))
    return max(outcome.status for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main())

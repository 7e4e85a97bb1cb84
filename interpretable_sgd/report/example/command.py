"""`interpretable-sgd example`: write a report of a net that comes with the package, and open it."""

import argparse
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from interpretable_sgd.report.example.shipped import study
from interpretable_sgd.report.render import write


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="interpretable-sgd example", description=__doc__)
    parser.add_argument(
        "--out", type=Path, metavar="HTML", help="page to write (default: a temporary file)"
    )
    parser.add_argument("--no-browser", action="store_true", help="write the page, open nothing")
    args = parser.parse_args(argv)
    path = args.out or Path(tempfile.gettempdir()) / "interpretable-sgd-example.html"
    try:
        page = write(study(), path).absolute()
    except OSError as error:
        print(f"interpretable-sgd example: --out must be a file to write: {error}", file=sys.stderr)
        return 1
    print(f"wrote {page}")
    if not args.no_browser and not webbrowser.open(page.as_uri()):
        print("no browser was found to open it")
    return 0

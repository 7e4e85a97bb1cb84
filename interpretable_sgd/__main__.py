"""`interpretable-sgd COMMAND`: one table from a command to the module that runs it."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

COMMANDS = {
    "report": ("interpretable_sgd.report.command", "read a trained classifier: one HTML page"),
    "example": (
        "interpretable_sgd.report.example.command",
        "open a report of a small net that is trained already",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` begins with on the rest of it; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    listed = "\n".join(f"  {name:10} {text}" for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="interpretable-sgd",
        usage="interpretable-sgd COMMAND [options]",
        description=f"commands (each has --help):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    command = parser.parse_args(words[:1]).command
    if command is None:
        parser.print_help()
        return 0
    if command not in COMMANDS:
        parser.error(f"command must be one of: {', '.join(COMMANDS)}; got {command}")
    try:
        module = importlib.import_module(COMMANDS[command][0])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "interpretable_sgd":
            raise
        print(f"{error}: pip install 'interpretable-sgd[report]' installs it", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return int(module.main(words[1:]))


def _version() -> str:
    try:
        return version("interpretable-sgd")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())

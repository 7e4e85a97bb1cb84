"""`interpretable-sgd COMMAND`: one table from a command to the module that runs it."""

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "report": ("interpretable_sgd.report.command", "read a trained classifier: one HTML page"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` begins with on the rest of it; returns the exit status."""
    listed = "\n".join(f"  {name:10} {text}" for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="interpretable-sgd",
        usage="interpretable-sgd COMMAND [options]",
        description=f"commands (each has --help):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    words = parser.parse_args(argv).command
    if not words or words[0] not in COMMANDS:
        got = words[0] if words else "nothing"
        parser.error(f"command must be one of: {', '.join(COMMANDS)}; got {got}")
    try:
        module = importlib.import_module(COMMANDS[words[0]][0])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "interpretable_sgd":
            raise
        print(f"{error}: pip install 'interpretable-sgd[report]' installs it", file=sys.stderr)
        return 1
    return int(module.main(words[1:]))


if __name__ == "__main__":
    sys.exit(main())

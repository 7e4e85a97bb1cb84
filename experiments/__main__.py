"""`python -m experiments COMMAND`: one table from a command to the module that runs it."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence

from experiments.training.hard_exit import leave

COMMANDS = {
    "list": ("experiments.paper.listing", "every table and figure: data, cost, what is stored"),
    "run": ("experiments.paper.running", "train what a table or figure lacks, then show it"),
    "draw": ("experiments.paper.drawing", "show tables and figures of stored runs"),
    "demo": ("experiments.demo", "train with SGD and with InterpretableSGD, compare, draw"),
    "toy": ("experiments.toy", "Figure 2: class formulas of a tiny network of known semantics"),
    "selection-map": ("experiments.selection_map", "Figure 3: EM and Dynamic-K selection on a map"),
    "research1": (
        "experiments.research.question1",
        "accuracy at five weights a class, as nets grow",
    ),
    "research2": (
        "experiments.research.question2",
        "when units are concepts, and class formulas true",
    ),
    "pictures": ("experiments.docs_figures", "draw the pictures of the documentation"),
    "bench optimizer": ("experiments.bench.optimizer", "cost of a training step over SGD's"),
    "bench routing": ("experiments.bench.routing", "cost of routed layers"),
    "bench loading": ("experiments.bench.loading", "whether the data keep up with the step"),
    "bench dissection": ("experiments.bench.dissection", "cost of labelling units with concepts"),
    "bench communication": ("experiments.bench.communication", "what ranks say to each other"),
}


def present() -> dict[str, tuple[str, str]]:
    """The commands whose module exists."""
    return {name: row for name, row in COMMANDS.items() if importlib.util.find_spec(row[0])}


def main(argv: Sequence[str]) -> int:
    """Run the command that `argv` begins with on the rest of it; returns the exit status."""
    commands = present()
    listed = "\n".join(f"  {name:16} {text}" for name, (_, text) in commands.items())
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        usage="python -m experiments COMMAND [options]",
        description=f"commands (each has --help):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    words = parser.parse_args(argv).command
    for length in (2, 1):
        name = " ".join(words[:length])
        if len(words) >= length and name in commands:
            return _run(commands[name][0], words[length:])
    got = " ".join(words[:2]) or "nothing"
    parser.error(f"command must be one of: {', '.join(commands)}; got {got}")


def _run(path: str, argv: Sequence[str]) -> int:
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("experiments", "interpretable_sgd"):
            raise
        print(f"{error}: pip install -e '.[experiments]' installs it", file=sys.stderr)
        return 1
    return int(module.main(argv))


if __name__ == "__main__":
    exit_status = main(sys.argv[1:])
    if "RANK" in os.environ:
        leave(exit_status)
    sys.exit(exit_status)

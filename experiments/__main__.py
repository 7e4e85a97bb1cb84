"""`python -m experiments COMMAND`: the commands, and the modules that run them."""

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

COMMANDS = {
    "list": ("paper.commands:list_main", "every table and figure: data, cost, what is stored"),
    "run": ("paper.commands:run_main", "train what a table or figure lacks, then show it"),
    "draw": ("paper.commands:draw_main", "show tables and figures of stored runs"),
    "demo": ("demo:main", "train with SGD and with InterpretableSGD, compare, draw"),
    "toy": ("toy:main", "Figure 2: class formulas of a tiny network of known semantics"),
    "selection-map": ("selection_map:main", "Figure 3: EM and Dynamic-K selection on a map"),
    "research1": ("research.question1:main", "accuracy at five weights a class, as nets grow"),
    "research2": ("research.question2:main", "when units are concepts, and class formulas true"),
    "finetuning": ("research.finetuning:main", "a trained network, tuned to five weights a class"),
    "choose-real": ("research.real:main", "what the real suite's settings were chosen from"),
    "sure": ("research.sure:main", "prediction sets, words for units, a pool, votes"),
    "shortcut": ("shortcut:main", "a planted shortcut, edited away by at most three units"),
    "pictures": ("docs_figures:main", "draw the pictures of the documentation"),
    "example": ("example.make:main", "train the net that `interpretable-sgd example` shows"),
}
BENCHMARKS = {
    "optimizer": ("bench.optimizer:main", "cost of a training step over SGD's"),
    "routing": ("bench.routing:main", "cost of routed layers"),
    "loading": ("bench.loading:main", "whether the data keep up with the step"),
    "dissection": ("bench.dissection:main", "cost of labelling units with concepts"),
    "communication": ("bench.communication:main", "what ranks say to each other"),
}


def main(argv: Sequence[str]) -> int:
    """Run the command that `argv` begins with on the rest of it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    _add(commands, COMMANDS)
    bench = commands.add_parser("bench", help="benchmarks, each of its own name")
    _add(bench.add_subparsers(metavar="BENCHMARK", required=True), BENCHMARKS)
    # the rest is the command's own, with its --help: its module is imported for it alone
    args, rest = parser.parse_known_args(argv)
    module, _, function = args.target.partition(":")
    try:
        command = getattr(importlib.import_module(f"experiments.{module}"), function)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("experiments", "interpretable_sgd"):
            raise
        print(f"{error}: pip install -e '.[experiments]' installs it", file=sys.stderr)
        return 1
    return int(command(rest))


def _add(commands: Any, table: Mapping[str, tuple[str, str]]) -> None:
    for name, (target, text) in table.items():
        commands.add_parser(name, help=text, add_help=False).set_defaults(target=target)


if __name__ == "__main__":
    exit_status = main(sys.argv[1:])
    if "RANK" in os.environ:
        from experiments.training.distributed import leave

        leave(exit_status)
    sys.exit(exit_status)

"""Stored results as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from experiments import results

COLUMNS = (
    "data",
    "optimizer",
    "seed",
    "test\nacc.",
    "valid.\nacc.",
    "weights\n/class",
    "spar-\nsity",
    "residual\nat 5",
    "steps",
    "sec.",
)


def run_table(records: Sequence[results.Record]) -> Table:
    """One row per run."""
    test = ", ".join(
        f"{data} {n}" for data, n in {r["data"]: r["n"]["test"] for r in records}.items()
    )
    table = Table(
        title=f"test images: {test}",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        pad_edge=False,
    )
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("data", "optimizer") else "right")
    for r in records:
        table.add_row(
            r["data"],
            r["optimizer"],
            str(r["seed"]),
            f"{r['test_accuracy']:.1%}",
            f"{r['validation_accuracy']:.1%}",
            f"{r['weights_per_class']:.1f}",
            f"{r['sparsity']:.1%}",
            f"{r['residual_at_5']:.2%}",
            str(r["steps"]),
            f"{r['seconds']:.0f}",
        )
    return table


def pair_lines(records: Sequence[results.Record]) -> list[str]:
    """Per data set, the paired difference of test accuracy with its standard error and n."""
    lines = []
    for data, pair in results.paired(records).items():
        error = pair["standard_error"]
        spread = "one seed, no error" if error is None else f"standard error {100 * error:.2f}"
        lines.append(
            f"{data}: InterpretableSGD minus SGD, test accuracy {100 * pair['mean']:+.2f} points "
            f"({spread}, n = {pair['n']})"
        )
    return lines

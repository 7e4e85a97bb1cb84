"""One self-contained HTML page about a trained classifier."""

from interpretable_sgd.report.write import render, write

__all__ = ["render", "write"]

"""One self-contained HTML page about a trained classifier."""

from interpretable_sgd.report.render import render, write

__all__ = ["render", "write"]

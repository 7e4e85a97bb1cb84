"""One self-contained HTML page about a trained classifier, and its model card."""

from interpretable_sgd.report.model_card import model_card, write_card
from interpretable_sgd.report.render import render, write

__all__ = ["model_card", "render", "write", "write_card"]

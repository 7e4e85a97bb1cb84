"""A trained net and its pictures, to see a report without training; `python -m experiments example` made them."""

from interpretable_sgd.report.example.shipped import network, study

__all__ = ["network", "study"]

"""Convergence of a training run, measured."""

from interpretable_sgd.convergence.rate_test import (
    INCONCLUSIVE,
    REACHED,
    SLOWER,
    PowerFit,
    Rate,
    estimate_rate,
    fit_power,
    judge,
    time_constants_of_descent,
)
from interpretable_sgd.convergence.recorder import Recorder, gradient_product

__all__ = [
    "INCONCLUSIVE",
    "REACHED",
    "SLOWER",
    "PowerFit",
    "Rate",
    "Recorder",
    "estimate_rate",
    "fit_power",
    "gradient_product",
    "judge",
    "time_constants_of_descent",
]

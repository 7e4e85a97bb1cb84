"""Convergence of a training run: recorded, checked against a rate, and diagnosed."""

from interpretable_sgd.convergence.check import RateCheck, check_rate
from interpretable_sgd.convergence.conditions import Conditions
from interpretable_sgd.convergence.curvature import largest_curvature, top_eigenvalue
from interpretable_sgd.convergence.diagnosis import Fault, diagnose, held
from interpretable_sgd.convergence.gradients import gradient_product, probabilities, supports
from interpretable_sgd.convergence.loggers import log_to
from interpretable_sgd.convergence.rate_test import (
    INCONCLUSIVE,
    LARGEST_FLOOR,
    REACHED,
    SLOWER,
    TIME_CONSTANTS,
    TOLERANCE,
    PowerFit,
    Rate,
    estimate_rate,
    fit_power,
    judge,
    time_constants_of_descent,
)
from interpretable_sgd.convergence.recorder import Recorder
from interpretable_sgd.optimizer import bounds

__all__ = [
    "INCONCLUSIVE",
    "LARGEST_FLOOR",
    "REACHED",
    "SLOWER",
    "TIME_CONSTANTS",
    "TOLERANCE",
    "Conditions",
    "Fault",
    "PowerFit",
    "Rate",
    "RateCheck",
    "Recorder",
    "bounds",
    "check_rate",
    "diagnose",
    "estimate_rate",
    "fit_power",
    "gradient_product",
    "held",
    "judge",
    "largest_curvature",
    "log_to",
    "probabilities",
    "supports",
    "time_constants_of_descent",
    "top_eigenvalue",
]

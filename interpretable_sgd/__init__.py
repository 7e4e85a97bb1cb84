"""Classifiers with about five readable units per class, by changing the optimizer."""

import importlib
from typing import Any

from interpretable_sgd.convergence.check import RateCheck, check_rate
from interpretable_sgd.convergence.gradients import gradient_product
from interpretable_sgd.convergence.rate_test import Rate, estimate_rate
from interpretable_sgd.convergence.recorder import Recorder
from interpretable_sgd.fitting import FittedHead, fit_head
from interpretable_sgd.layers.conversion import route, unroute
from interpretable_sgd.layers.dynamic import DynamicConv2d, DynamicLinear
from interpretable_sgd.layers.em_routing import EMRoutingLinear
from interpretable_sgd.optimizer.adamw import InterpretableAdamW
from interpretable_sgd.optimizer.guarantees import Guarantee
from interpretable_sgd.optimizer.poisson_sampler import PoissonBatchSampler
from interpretable_sgd.optimizer.routed_units import RoutedUnits
from interpretable_sgd.optimizer.sgd import InterpretableSGD

__all__ = [
    "DynamicConv2d",
    "DynamicLinear",
    "EMRoutingLinear",
    "FittedHead",
    "Guarantee",
    "InterpretableAdamW",
    "InterpretableSGD",
    "PoissonBatchSampler",
    "Rate",
    "RateCheck",
    "Recorder",
    "RoutedUnits",
    "check_rate",
    "estimate_rate",
    "fit_head",
    "gradient_product",
    "route",
    "unroute",
]
__version__ = "0.1.0"

PACKAGES = ("analysis", "convergence", "report")
"""Subpackages that a plain import brings into reach; each is loaded when it is first asked for."""


def __getattr__(name: str) -> Any:
    if name in PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *PACKAGES, "__version__"})

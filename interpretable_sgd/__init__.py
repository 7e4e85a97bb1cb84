"""Classifiers with about five readable units per class, by changing the optimizer."""

from interpretable_sgd.batches import PoissonBatchSampler
from interpretable_sgd.conversion import route, unroute
from interpretable_sgd.em_routing import EMRoutingLinear
from interpretable_sgd.guarantees import Guarantee
from interpretable_sgd.layers import DynamicConv2d, DynamicLinear
from interpretable_sgd.optimizer import InterpretableSGD
from interpretable_sgd.rates import Rate, estimate_rate
from interpretable_sgd.recorder import Recorder, gradient_product
from interpretable_sgd.scheduler import BlockSizeScheduler
from interpretable_sgd.units import RoutedUnits

__all__ = [
    "BlockSizeScheduler",
    "DynamicConv2d",
    "DynamicLinear",
    "EMRoutingLinear",
    "Guarantee",
    "InterpretableSGD",
    "PoissonBatchSampler",
    "Rate",
    "Recorder",
    "RoutedUnits",
    "estimate_rate",
    "gradient_product",
    "route",
    "unroute",
]
__version__ = "0.1.0"

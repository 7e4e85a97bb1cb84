"""Classifiers with about five readable units per class, by changing the optimizer."""

from interpretable_sgd.conversion import route, unroute
from interpretable_sgd.em_routing import EMRoutingLinear
from interpretable_sgd.layers import DynamicConv2d, DynamicLinear

__all__ = ["DynamicConv2d", "DynamicLinear", "EMRoutingLinear", "route", "unroute"]

"""Layers whose forward pass selects: Dynamic-K and EM routing."""

from interpretable_sgd.layers.conversion import route, unroute
from interpretable_sgd.layers.dynamic import DynamicConv2d, DynamicLinear
from interpretable_sgd.layers.em_routing import EMRoutingLinear

__all__ = ["DynamicConv2d", "DynamicLinear", "EMRoutingLinear", "route", "unroute"]

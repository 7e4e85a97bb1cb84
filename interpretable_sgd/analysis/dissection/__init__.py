"""Network dissection: which concept each unit of a layer shows, and whether that beats chance."""

from interpretable_sgd.analysis.dissection.counting import count
from interpretable_sgd.analysis.dissection.labels import Labels, read_labels
from interpretable_sgd.analysis.dissection.null import null_quantile, p_values, random_basis
from interpretable_sgd.analysis.dissection.pixel_counts import PixelCounts
from interpretable_sgd.analysis.dissection.result import Dissection
from interpretable_sgd.analysis.dissection.scores import intersection_over_union
from interpretable_sgd.analysis.dissection.tensor_counts import count_with_tensors
from interpretable_sgd.analysis.dissection.thresholds import HighestValues
from interpretable_sgd.analysis.dissection.upsampling import upsample

__all__ = [
    "Dissection",
    "HighestValues",
    "Labels",
    "PixelCounts",
    "count",
    "count_with_tensors",
    "intersection_over_union",
    "null_quantile",
    "p_values",
    "random_basis",
    "read_labels",
    "upsample",
]

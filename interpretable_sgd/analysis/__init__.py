"""Reading a trained network: what decides, which concepts its units are, how sure that is."""

from interpretable_sgd.analysis.ablation import Ablation, Curve, ablate, rank_correlation
from interpretable_sgd.analysis.classes import (
    at_most,
    dead_units,
    labels_per_class,
    readers,
    shared_units,
    sparsity,
    units_per_class,
    usage_entropy,
    weights_per_class,
)
from interpretable_sgd.analysis.contributions import (
    residual,
    residuals,
    shares,
    top_units,
    units_to_reach,
)
from interpretable_sgd.analysis.decisions import Decisions, decide
from interpretable_sgd.analysis.heads import Head, find_head
from interpretable_sgd.analysis.passes import reading
from interpretable_sgd.analysis.readability import (
    accuracy_at,
    class_independence,
    contrastiveness,
    dependence,
    diversity,
    pruned,
)
from interpretable_sgd.analysis.stability import (
    Matching,
    SeedStability,
    Stability,
    across_seeds,
    jaccard,
    match_units,
    under_augmentation,
)

__all__ = [
    "Ablation",
    "Curve",
    "Decisions",
    "Head",
    "Matching",
    "SeedStability",
    "Stability",
    "ablate",
    "accuracy_at",
    "across_seeds",
    "at_most",
    "class_independence",
    "contrastiveness",
    "dead_units",
    "decide",
    "dependence",
    "diversity",
    "find_head",
    "jaccard",
    "labels_per_class",
    "match_units",
    "pruned",
    "rank_correlation",
    "readers",
    "reading",
    "residual",
    "residuals",
    "shared_units",
    "shares",
    "sparsity",
    "top_units",
    "under_augmentation",
    "units_per_class",
    "units_to_reach",
    "usage_entropy",
    "weights_per_class",
]

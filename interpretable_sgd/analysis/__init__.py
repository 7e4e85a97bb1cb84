"""Analysis of a trained network: what decides, which concepts its units are, how sure that is."""

from interpretable_sgd.analysis.ablation import Ablation, Curve, ablate, rank_correlation
from interpretable_sgd.analysis.calibration import Calibration, calibration, wilson_interval
from interpretable_sgd.analysis.checkpoints import CheckpointError
from interpretable_sgd.analysis.comparison import ClassDiff, Comparison, Term, compare
from interpretable_sgd.analysis.composition import (
    Agreement,
    Composition,
    agreement,
    class_concepts,
    compose,
    connections,
    formula,
)
from interpretable_sgd.analysis.conformal import SetRule, calibrated, set_scores
from interpretable_sgd.analysis.confusions import Contrast, contrast
from interpretable_sgd.analysis.contributions import (
    residual,
    residuals,
    shares,
    top_units,
    units_to_reach,
)
from interpretable_sgd.analysis.decisions import Decisions, decide
from interpretable_sgd.analysis.dissection.dissect import dissect
from interpretable_sgd.analysis.dissection.null import random_basis
from interpretable_sgd.analysis.dissection.result import Dissection
from interpretable_sgd.analysis.editor import Editor, edit
from interpretable_sgd.analysis.edits import Edit, edits_of
from interpretable_sgd.analysis.effects import Accuracy, Effect
from interpretable_sgd.analysis.exemplars import Exemplar, exemplars
from interpretable_sgd.analysis.explanation import Explanation, Reason, Score, UnitSum, explain
from interpretable_sgd.analysis.forward import reading
from interpretable_sgd.analysis.head_search import find_head
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.images import denormalized, heat
from interpretable_sgd.analysis.interpretability_metrics import (
    accuracy_at,
    class_independence,
    contrastiveness,
    dependence,
    diversity,
    pruned,
    snapped,
)
from interpretable_sgd.analysis.prediction_sets import Keeper, Member, PredictionSet
from interpretable_sgd.analysis.sparsity import (
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
from interpretable_sgd.analysis.stability import (
    Matching,
    SeedStability,
    Stability,
    across_seeds,
    jaccard,
    match_units,
    under_augmentation,
)
from interpretable_sgd.analysis.study.record import Compared, Metric, Study
from interpretable_sgd.analysis.study.study import study
from interpretable_sgd.analysis.table import Table
from interpretable_sgd.analysis.unit_naming import UnitNames, name_units

__all__ = [
    "Ablation",
    "Accuracy",
    "Agreement",
    "Calibration",
    "CheckpointError",
    "ClassDiff",
    "Compared",
    "Comparison",
    "Composition",
    "Contrast",
    "Curve",
    "Decisions",
    "Dissection",
    "Edit",
    "Editor",
    "Effect",
    "Exemplar",
    "Explanation",
    "Head",
    "Keeper",
    "Matching",
    "Member",
    "Metric",
    "PredictionSet",
    "Reason",
    "Score",
    "SeedStability",
    "SetRule",
    "Stability",
    "Study",
    "Table",
    "Term",
    "UnitNames",
    "UnitSum",
    "ablate",
    "accuracy_at",
    "across_seeds",
    "agreement",
    "at_most",
    "calibrated",
    "calibration",
    "class_concepts",
    "class_independence",
    "compare",
    "compose",
    "connections",
    "contrast",
    "contrastiveness",
    "dead_units",
    "decide",
    "denormalized",
    "dependence",
    "dissect",
    "diversity",
    "edit",
    "edits_of",
    "exemplars",
    "explain",
    "find_head",
    "formula",
    "heat",
    "jaccard",
    "labels_per_class",
    "match_units",
    "name_units",
    "pruned",
    "random_basis",
    "rank_correlation",
    "readers",
    "reading",
    "residual",
    "residuals",
    "set_scores",
    "shared_units",
    "shares",
    "snapped",
    "sparsity",
    "study",
    "top_units",
    "under_augmentation",
    "units_per_class",
    "units_to_reach",
    "usage_entropy",
    "weights_per_class",
    "wilson_interval",
]

"""The single numbers that a study comes down to, each with what it means."""

from collections.abc import Sequence

import torch
from torch import Tensor

from interpretable_sgd.analysis.ablation import Ablation
from interpretable_sgd.analysis.composition import agreement, class_concepts
from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.dissection.result import Dissection
from interpretable_sgd.analysis.interpretability_metrics import class_independence, contrastiveness
from interpretable_sgd.analysis.sparsity import (
    at_most,
    dead_units,
    readers,
    shared_units,
    sparsity,
    units_per_class,
    usage_entropy,
    weights_per_class,
)
from interpretable_sgd.analysis.study.class_cards import ClassCard
from interpretable_sgd.analysis.study.record import Figure
from interpretable_sgd.analysis.study.unit_cards import UnitCard

FEW = 5  # concepts that a reader can hold at once: the paper's reading of a class


def figures(
    decisions: Decisions,
    units: Sequence[UnitCard],
    classes: Sequence[ClassCard],
    ablation: Ablation,
    dissection: Dissection | None = None,
    truth: Tensor | None = None,
) -> dict[str, Figure]:
    """All of them, by name; those of labels where there are any."""
    found = {
        **decision_figures(decisions),
        **class_figures(decisions, classes),
        **unit_figures(decisions),
        **ablation_figures(ablation),
    }
    if dissection is not None:
        found |= label_figures(decisions, units, dissection)
    if truth is not None:
        found |= truth_figures(truth, decisions, units, dissection)
    return found


def reach_by_class(decisions: Decisions) -> dict[float, Tensor]:
    """By level, the fewest units whose mean contributions reach it of a class's mean logit, (C,)."""
    return {
        level: units_per_class(decisions.mean_parts, decisions.bias, level)
        for level in decisions.reach
    }


def decision_figures(decisions: Decisions) -> dict[str, Figure]:
    """Accuracy, residuals and dependence over the images."""
    few = min(FEW, decisions.units.shape[2]) - 1
    return {
        "images": Figure(len(decisions), "images that were decided on"),
        "accuracy": Figure(
            decisions.accuracy, "share of images whose largest logit is the label's"
        ),
        "residual_at_5": _mean(
            decisions.residuals["faithful"][:, few],
            "mean over images of 1 - the 5 largest shares of the predicted logit, bias included",
        ),
        "signed_residual_at_5": _mean(
            decisions.residuals["signed"][:, few], "the same of sum W x (the paper's), without bias"
        ),
        "outside_5": _mean(
            outside(decisions, FEW),
            "mean over images of the share of sum |contribution| outside the 5 largest; no bias",
        ),
        "dependence": _mean(
            decisions.dependence,
            "mean over images of the largest |contribution| by their sum (Q-SENN)",
        ),
    }


def outside(decisions: Decisions, k: int) -> Tensor:
    """Share of sum |contribution| to the predicted class outside the k largest, (N,), float64.

    NaN for an image without contributions.
    """
    sizes = decisions.contributions[:, 0].abs().double()
    # dependence is the largest by the sum of all, so that this is the sum
    total = sizes[:, 0] / decisions.dependence.double()
    return (1 - sizes[:, :k].sum(1) / total).clamp(min=0)


def class_figures(decisions: Decisions, classes: Sequence[ClassCard]) -> dict[str, Figure]:
    """Sparsity of the head, and how many classes a reader can hold, in three readings."""
    weight = decisions.weight
    weights = weights_per_class(weight)
    found = {
        "classes": Figure(len(classes), "outputs of the head"),
        "units": Figure(weight.shape[1], "inputs of the head"),
        "weights_per_class": Figure(
            float(weights.double().mean()), "mean over classes of the number of |w| >= 1e-3 (NEC)"
        ),
        "sparsity": Figure(sparsity(weight), "share of the head's |w| < 1e-3"),
        "classes_with_5_weights": Figure(
            at_most(weights.double(), FEW), "share of classes with at most 5 weights of |w| >= 1e-3"
        ),
    }
    if all(card.labels is not None for card in classes):
        labels = torch.tensor([float(card.labels or 0) for card in classes])
        found["classes_with_5_labels"] = Figure(
            at_most(labels, FEW), "share of classes with at most 5 distinct concepts among those"
        )
    for level, counts in reach_by_class(decisions).items():
        found[f"classes_with_5_to_{level}"] = Figure(
            at_most(counts, FEW),
            f"share of classes where at most 5 mean contributions reach {level} of the mean logit",
        )
    return found


def unit_figures(decisions: Decisions) -> dict[str, Figure]:
    """How the units are used, over all classes."""
    weight = decisions.weight
    return {
        "dead_units": Figure(
            int(dead_units(weight, decisions.activity).sum()),
            "units that are never above 0, or that no class reads",
        ),
        "unread_units": Figure(int((readers(weight) == 0).sum()), "units that no class reads"),
        "shared_units": Figure(int(shared_units(weight).sum()), "units that several classes read"),
        "usage_entropy": Figure(
            usage_entropy(decisions.mass),
            "entropy of the units' shares of all contributions: 1 if all carry alike",
        ),
        "class_independence": Figure(
            class_independence(decisions.class_means, decisions.counts, decisions.minimum),
            "how little of a unit's activity one class makes (QPM)",
        ),
        "contrastiveness": Figure(
            contrastiveness(decisions.sample_units) if len(decisions.sample) > 1 else None,
            "how clearly units are either on or off (QPM)",
        ),
    }


def label_figures(
    decisions: Decisions, units: Sequence[UnitCard], dissection: Dissection
) -> dict[str, Figure]:
    """What the units' labels amount to."""
    found = {
        "detectors": Figure(
            int(dissection.detectors().sum()), "units with IoU >= 0.04 with some concept"
        ),
        "unique_detectors": Figure(
            dissection.unique_detectors(), "distinct concepts among the detectors"
        ),
        "mean_iou": Figure(float(dissection.best.mean()), "mean over units of the best IoU"),
        "unlabelled_mass": Figure(
            dissection.unlabelled_mass(decisions.mass),
            "share of sum |contribution| of the predicted class by units with IoU < 0.04",
        ),
    }
    if len(dissection.null):
        found["trusted_units"] = Figure(
            sum(unit.is_trusted for unit in units), "detectors whose label is more than chance"
        )
        found["unlabelled_mass_null"] = Figure(
            dissection.unlabelled_mass(decisions.mass, "null"),
            "share of sum |contribution| by units whose label is no more than chance",
        )
    return found


def truth_figures(
    truth: Tensor, decisions: Decisions, units: Sequence[UnitCard], dissection: Dissection | None
) -> dict[str, Figure]:
    """Concepts that classes read against those that they are made of.

    Raises:
        ValueError: there is no dissection, or truth has another shape.
    """
    if dissection is None:
        raise ValueError("truth needs concepts, to compare what classes read with it")
    shape = (len(decisions.weight), len(dissection.table))
    if tuple(truth.shape) != shape:
        raise ValueError(f"truth must have the shape {shape}, got {tuple(truth.shape)}")
    trusted = torch.tensor([unit.is_trusted for unit in units])
    reads = class_concepts(decisions.weight, dissection.label.clamp(min=0), trusted, shape[1])
    score = agreement(reads, truth)
    meaning = (
        "of the concepts that classes read with positive weight, against those they are made of"
    )
    return {
        "concept_precision": Figure(float(score.precision.mean()), f"mean precision {meaning}"),
        "concept_recall": Figure(float(score.recall.mean()), f"mean recall {meaning}"),
        "concept_f1": Figure(float(score.f1.mean()), f"mean F1 {meaning}"),
    }


def ablation_figures(ablation: Ablation) -> dict[str, Figure]:
    """Whether contributions say what decides, and what five weights are worth."""
    found = {
        "ablation_agreement": _mean(
            ablation.agreement,
            "mean rank correlation of contributions with what the logit loses without the unit",
        )
    }
    if FEW in ablation.counts:
        at = ablation.counts.index(FEW)
        found["accuracy_at_5_weights"] = Figure(
            float(ablation.prune.accuracy[at]),
            "accuracy with the largest |w| alone, 5 a class on average, not refitted (ANEC-5)",
        )
        found["accuracy_of_5_units"] = Figure(
            float(ablation.keep.accuracy[at]),
            "accuracy with only the 5 largest contributions of each image",
        )
    return found


def diversity_figure(apart: Tensor) -> Figure:
    """How far apart the units of a class look, over the images."""
    return _mean(
        apart, "mean over images of how far apart the predicted class's 5 units look (SID)"
    )


def _mean(values: Tensor, meaning: str) -> Figure:
    """Over the images that have one."""
    return Figure(float(values.nanmean()), meaning)

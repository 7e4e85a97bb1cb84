"""Metrics of a study: the single numbers that it comes down to, each with what it means."""

from collections.abc import Sequence

import torch
from torch import Tensor

from interpretable_sgd.analysis.ablation import Ablation
from interpretable_sgd.analysis.calibration import calibration, wilson_interval
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
from interpretable_sgd.analysis.study.cards import ClassCard, UnitCard
from interpretable_sgd.analysis.study.record import Metric

FEW = 5  # concepts that a reader can hold at once: the paper's reading of a class


def metrics(
    decisions: Decisions,
    units: Sequence[UnitCard],
    classes: Sequence[ClassCard],
    ablation: Ablation,
    dissection: Dissection | None = None,
    truth: Tensor | None = None,
) -> dict[str, Metric]:
    """All of them, by name; those of labels where there are any."""
    found = {
        **decision_metrics(decisions),
        **class_metrics(decisions, classes),
        **unit_metrics(decisions),
        **ablation_metrics(ablation),
    }
    if dissection is not None:
        found |= label_metrics(decisions, units, dissection)
    if truth is not None:
        found |= truth_metrics(truth, decisions, units, dissection)
    return found


def reach_by_class(decisions: Decisions) -> dict[float, Tensor]:
    """By level, the fewest units whose mean contributions reach it of a class's mean logit, (C,)."""
    return {
        level: units_per_class(decisions.mean_parts, decisions.bias, level)
        for level in decisions.reach
    }


def decision_metrics(decisions: Decisions) -> dict[str, Metric]:
    """Accuracy, residuals and dependence over the images."""
    few = min(FEW, decisions.units.shape[2]) - 1
    return {
        "images": Metric(len(decisions), "images that were decided on"),
        "accuracy": _accuracy(decisions),
        "chance_accuracy": Metric(
            decisions.chance_accuracy, "accuracy of always giving the most frequent label"
        ),
        "calibration_error": Metric(
            calibration(*confidences(decisions)).expected_error,
            "mean distance of the predicted class's probability from how often it is right (ECE)",
        ),
        "abstentions": Metric(
            float(decisions.abstains.double().mean()),
            "share of images where no unit that the predicted class reads is on",
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


def _accuracy(decisions: Decisions) -> Metric:
    if decisions.is_multilabel:
        # decisions on the classes of one image are not independent: no interval
        return Metric(decisions.accuracy, "share of all decisions on a class of an image, right")
    right = int(decisions.correct.sum())
    return Metric(
        decisions.accuracy,
        "share of images whose largest logit is the label's",
        wilson_interval(right, len(decisions)),
    )


def confidences(decisions: Decisions) -> tuple[Tensor, Tensor]:
    """Probability of the predicted class, and whether the image has it, (N,) each."""
    if decisions.is_multilabel:
        has = decisions.labels.gather(1, decisions.predicted[:, None])[:, 0]
        return decisions.probabilities[:, 0], has
    return decisions.probabilities[:, 0], decisions.correct


def outside(decisions: Decisions, k: int) -> Tensor:
    """Share of sum |contribution| to the predicted class outside the k largest, (N,), float64.

    NaN for an image without contributions.
    """
    sizes = decisions.contributions[:, 0].abs().double()
    # dependence is the largest by the sum of all, so that this is the sum
    total = sizes[:, 0] / decisions.dependence.double()
    return (1 - sizes[:, :k].sum(1) / total).clamp(min=0)


def class_metrics(decisions: Decisions, classes: Sequence[ClassCard]) -> dict[str, Metric]:
    """Sparsity of the head, and how many classes a reader can hold, in three readings."""
    weight = decisions.weight
    weights = weights_per_class(weight)
    found = {
        "classes": Metric(len(classes), "that the head tells apart"),
        "units": Metric(weight.shape[1], "inputs of the head"),
        "weights_per_class": Metric(
            float(weights.double().mean()), "mean over classes of the number of |w| >= 1e-3 (NEC)"
        ),
        "sparsity": Metric(sparsity(weight), "share of the head's |w| < 1e-3"),
        "classes_with_5_weights": Metric(
            at_most(weights.double(), FEW), "share of classes with at most 5 weights of |w| >= 1e-3"
        ),
    }
    if all(card.labels is not None for card in classes):
        labels = torch.tensor([float(card.labels or 0) for card in classes])
        found["classes_with_5_labels"] = Metric(
            at_most(labels, FEW), "share of classes with at most 5 distinct concepts among those"
        )
    for level, counts in reach_by_class(decisions).items():
        found[f"classes_with_5_to_{level}"] = Metric(
            at_most(counts, FEW),
            f"share of classes where at most 5 mean contributions reach {level} of the mean logit",
        )
    return found


def unit_metrics(decisions: Decisions) -> dict[str, Metric]:
    """How the units are used, over all classes."""
    weight = decisions.weight
    return {
        "dead_units": Metric(
            int(dead_units(weight, decisions.activity).sum()),
            "units that are never above 0, or that no class reads",
        ),
        "unread_units": Metric(int((readers(weight) == 0).sum()), "units that no class reads"),
        "shared_units": Metric(int(shared_units(weight).sum()), "units that several classes read"),
        "usage_entropy": Metric(
            usage_entropy(decisions.mass),
            "entropy of the units' shares of all contributions: 1 if all carry alike",
        ),
        "class_independence": Metric(
            class_independence(decisions.class_means, decisions.counts, decisions.minimum),
            "how little of a unit's activity one class makes (QPM)",
        ),
        "contrastiveness": Metric(
            contrastiveness(decisions.sample_units) if len(decisions.sample) > 1 else None,
            "how clearly units are either on or off (QPM)",
        ),
    }


def label_metrics(
    decisions: Decisions, units: Sequence[UnitCard], dissection: Dissection
) -> dict[str, Metric]:
    """What the units' labels amount to."""
    found = {
        "detectors": Metric(
            int(dissection.detectors().sum()), "units with IoU >= 0.04 with some concept"
        ),
        "unique_detectors": Metric(
            dissection.unique_detectors(), "distinct concepts among the detectors"
        ),
        "mean_iou": Metric(float(dissection.best.mean()), "mean over units of the best IoU"),
        "unlabelled_mass": Metric(
            dissection.unlabelled_mass(decisions.mass),
            "share of sum |contribution| of the predicted class by units with IoU < 0.04",
        ),
    }
    if len(dissection.null):
        found["trusted_units"] = Metric(
            sum(unit.is_trusted for unit in units), "detectors whose label is more than chance"
        )
        found["unlabelled_mass_null"] = Metric(
            dissection.unlabelled_mass(decisions.mass, "null"),
            "share of sum |contribution| by units whose label is no more than chance",
        )
    return found


def truth_metrics(
    truth: Tensor, decisions: Decisions, units: Sequence[UnitCard], dissection: Dissection | None
) -> dict[str, Metric]:
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
        "concept_precision": Metric(float(score.precision.mean()), f"mean precision {meaning}"),
        "concept_recall": Metric(float(score.recall.mean()), f"mean recall {meaning}"),
        "concept_f1": Metric(float(score.f1.mean()), f"mean F1 {meaning}"),
    }


def ablation_metrics(ablation: Ablation) -> dict[str, Metric]:
    """Whether contributions say what decides, and what five weights are worth."""
    found = {
        "ablation_agreement": _mean(
            ablation.agreement,
            "mean rank correlation of contributions with what the logit loses without the unit",
        )
    }
    if FEW in ablation.counts:
        at = ablation.counts.index(FEW)
        found["accuracy_at_5_weights"] = Metric(
            float(ablation.prune.accuracy[at]),
            "accuracy with the largest |w| alone, 5 a class on average, not refitted (ANEC-5)",
        )
        found["accuracy_of_5_units"] = Metric(
            float(ablation.keep.accuracy[at]),
            "accuracy with only the 5 largest contributions of each image",
        )
    return found


def diversity_metric(apart: Tensor) -> Metric:
    """How far apart the units of a class look, over the images."""
    return _mean(
        apart, "mean over images of how far apart the predicted class's 5 units look (SID)"
    )


def _mean(values: Tensor, meaning: str) -> Metric:
    """Over the images that have one."""
    return Metric(float(values.nanmean()), meaning)

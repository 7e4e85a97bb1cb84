r"""How much the units of a net are concepts, and the classes' formulas the truth.

Index legend: `n` image, `c` class, `m` unit, `l` concept.

A mask covers at most the share q of a map's positions, a concept the share a_l of all pixels, so whatever a
unit does, on maps as fine as the labels

.. math:: IoU_{ml} \le \min(1, q / a_l)

The published q = .005 caps the IoU of common concepts; at q = mean a_l ("matched") the cap is 1 for most.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from experiments.datasets.concepts import concept_arrays
from experiments.datasets.dataset import InMemory
from experiments.datasets.synthetic.base import Generated
from experiments.evaluation.metrics import AT_ONCE, read
from experiments.models.registry import units_of
from interpretable_sgd import analysis

PUBLISHED = 0.005
DETECTOR = 0.04
FORMULA = 5  # units of a class's formula


def ceiling(coverage: Tensor, quantile: float) -> Tensor:
    """The largest IoU that any unit can have with each concept: a mask of less area misses the rest.

    Args:
        coverage: share of all pixels that show it, (l,), in (0, 1].
        quantile: share of all positions in a unit's mask.

    >>> ceiling(torch.tensor([0.01, 0.001]), 0.005)
    tensor([0.5000, 1.0000])
    """
    return (quantile / coverage).clamp(max=1)


def formulas(strength: Tensor, size: int = FORMULA) -> Tensor:
    """The units that speak most for each class, (c, m), bool: at most `size`, positive ones alone.

    >>> formulas(torch.tensor([[3.0, -4.0, 1.0, 2.0]]), 2)
    tensor([[ True, False, False,  True]])
    """
    least = strength.topk(min(size, strength.shape[1]), 1).values[:, -1:]
    return (strength >= least) & (strength > 0)


def contributions(weight: Tensor, units: Tensor, labels: Tensor) -> Tensor:
    """W_cm times the mean of unit m over the images of class c, (c, m)."""
    of_class = torch.nn.functional.one_hot(labels, len(weight)).to(units)
    return weight * (of_class.T @ units / of_class.sum(0)[:, None].clamp(min=1))


class UnitConcepts(NamedTuple):
    """What the units of a network do on images whose concepts are known.

    Attributes:
        units: on the images, (n, m).
        labels: of the images, (n,).
        present: which concepts each shows, (n, l), bool.
        coverage: share of all pixels that show each concept, (l,).
        maps: of the units, (n, m, h, w).
        iou: by quantile, "published" or "matched", the quantile and the IoU (m, l) by convention.
        composition: concepts of each class, (c, l), bool.
    """

    units: Tensor
    labels: Tensor
    present: Tensor
    coverage: Tensor
    maps: Tensor
    iou: dict[str, tuple[float, dict[str, Tensor]]]
    composition: Tensor


def unit_concepts(model: nn.Module, source: Generated, split: str, n: int) -> UnitConcepts:
    """Dissect the units of a network on n images of a split, at both quantiles."""
    images, labels = source.tensors(split, n)
    concepts = concept_arrays(source, split, n)
    coverage = source.masks(split, n).double().mean((0, 2, 3)).clamp(min=1e-9)
    iou = {}
    for name, quantile in {"published": PUBLISHED, "matched": float(coverage.mean())}.items():
        dissection = analysis.dissect(
            model, units_of(model), concepts, quantile=quantile, permutations=0
        )
        iou[name] = quantile, dict(dissection.iou)
    units = read(model, InMemory(images, labels)).units
    shown = source.shown(split, n)
    return UnitConcepts(
        units, labels, shown, coverage, maps_of(model, images), iou, source.composition
    )


@torch.inference_mode()
def maps_of(model: nn.Module, images: Tensor) -> Tensor:
    """Maps of the units that the head reads, (n, m, h, w), in evaluation mode; its mode is restored."""
    device, kept = next(model.parameters()).device, list[Tensor]()
    handle = units_of(model).register_forward_hook(lambda layer, x, maps: kept.append(maps.cpu()))
    mode = model.training
    try:
        for some in images.split(AT_ONCE):
            model.eval()(some.to(device))
    finally:
        handle.remove()
        model.train(mode)
    return torch.cat(kept)


def peers(weight: Tensor, known: UnitConcepts) -> dict[str, float | None]:
    """Metrics of QPM on units and their maps: SID@5, class independence, contrastiveness.

    SID@5 is over images whose class has five weights above 0, None where there is no such class.
    """
    apart = analysis.diversity(known.maps, weight, known.labels).nanmean().item()
    of_class = nn.functional.one_hot(known.labels, len(weight)).double()
    counts = of_class.sum(0)
    means = of_class.T @ known.units.double() / counts[:, None].clamp(min=1)
    return {
        "sid": None if math.isnan(apart) else apart,
        "class_independence": analysis.class_independence(means, counts, known.units.amin(0)),
        "contrastiveness": analysis.contrastiveness(known.units),
    }


def concept_agreement(weight: Tensor, known: UnitConcepts) -> dict[str, Any]:
    """Figures of the units that a head reads.

    Args:
        weight: of the head, (c, m), trained with the network or fitted afterwards.
        known: of its units.

    Returns:
        "units", their number; "read" and "alive", how many a class reads, and how many are ever active;
        "selectivity", the mean over units of the largest correlation of activation and presence of a
        concept; "peers", of `peers`; and for q "published" and "matched" the IoU figures of `agreeing`.
    """
    weight = weight.detach().cpu()
    strength = {
        "weight": weight.where(weight.abs() >= 1e-3, 0),
        "contribution": contributions(weight, known.units, known.labels),
    }
    formula_of = {name: formulas(value) for name, value in strength.items()}
    figures: dict[str, Any] = {
        "units": weight.shape[1],
        "alive": int((known.units.amax(0) > 0).sum()),
        "read": int(analysis.weights_per_class(weight.T).gt(0).sum()),
        "positive_share": float((weight >= 1e-3).sum() / (weight.abs() >= 1e-3).sum().clamp(min=1)),
        "selectivity": float(correlations(known.units, known.present.float()).amax(1).mean()),
        "coverage": float(known.coverage.mean()),
        "peers": peers(weight, known),
    }
    for name, (quantile, by_convention) in known.iou.items():
        figures[name] = {
            "quantile": quantile,
            "ceiling": float(ceiling(known.coverage, quantile).mean()),
            **{
                convention: agreeing(iou, formula_of, known.composition)
                for convention, iou in by_convention.items()
            },
        }
    return figures


def agreeing(iou: Tensor, chosen: dict[str, Tensor], truth: Tensor) -> dict[str, Any]:
    """Figures of one convention.

    Args:
        iou: of every unit with every concept, (m, l).
        chosen: by how strength was measured, the units in each class's formula, (c, m), bool.
        truth: concepts of each class, (c, l), bool.

    Returns:
        "mean_iou" over all units, "detectors" among them and "unique" labels of these; and by how
        strength was measured "mean_iou" of the units in some formula, the mean "precision", "recall"
        and "f1" of class -> concept.
    """
    best, label = iou.max(1)
    detector = best >= DETECTOR
    figures: dict[str, Any] = {
        "mean_iou": float(best.mean()),
        "detectors": int(detector.sum()),
        "unique": len(label[detector].unique()),
    }
    for name, formula in chosen.items():
        concepts = analysis.class_concepts(formula.double(), label, detector, iou.shape[1])
        match = analysis.agreement(concepts, truth)
        figures[name] = {
            "mean_iou": float(best[formula.any(0)].mean()),
            "units": int(formula.any(0).sum()),
            "precision": float(match.precision.mean()),
            "recall": float(match.recall.mean()),
            "f1": float(match.f1.mean()),
        }
    return figures


def correlations(units: Tensor, shown: Tensor) -> Tensor:
    """Of activation and presence over images, (m, l); 0 where one of them does not vary.

    >>> correlations(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0, 2.0], [1.0, 0.0]])).round()
    tensor([[ 0., -1.]])
    """
    x, y = (values - values.mean(0) for values in (units, shown))
    norms = x.norm(dim=0)[:, None] * y.norm(dim=0)
    return torch.where(norms > 0, x.T @ y / norms.clamp(min=1e-12), 0)

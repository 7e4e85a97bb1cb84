"""What is measured of a net: its decisions, its head, and what concepts its units show.

Index legend: `n` image, `m` unit, `c` class.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, Dataset

from experiments.evaluation.measures import test_accuracy
from experiments.evaluation.metrics import mean_residual
from interpretable_sgd import analysis

COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 25, 35, 50, 75, 100, 150, 200, 300, 500, 1000)
AT_ONCE = 250  # images in a forward pass


class Read(NamedTuple):
    """Of some images, on the CPU: units (n, m), logits (n, c), labels (n,)."""

    units: Tensor
    logits: Tensor
    labels: Tensor

    @property
    def top1(self) -> float:
        """Share of images whose largest logit is the label's."""
        return test_accuracy(self.logits, self.labels)

    def top(self, k: int) -> float:
        """Share of images whose label is among the k largest logits, all of them where there are fewer.

        >>> Read(torch.empty(1, 0), torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([2])).top(2)
        1.0
        """
        highest = self.logits.topk(min(k, self.logits.shape[1]), dim=1).indices
        return (highest == self.labels[:, None]).any(1).double().mean().item()


def read(model: nn.Module, images: Dataset[Any], workers: int = 0) -> Read:
    """Read a net on a map-style data set of (image, label), in evaluation mode."""
    device = next(model.parameters()).device
    found = []
    with analysis.reading(model, analysis.find_head(model)) as last:
        for batch, labels in DataLoader(images, AT_ONCE, num_workers=workers):
            model(batch.to(device))
            units, logits = last.take()
            found.append(Read(units.cpu(), logits.cpu(), labels))
    return Read(*map(torch.cat, zip(*found, strict=True)))


def head_numbers(model: nn.Module) -> dict[str, float]:
    """How many weights the head has that are not 0."""
    weight = analysis.find_head(model).weight
    return {
        "weights_per_class": analysis.weights_per_class(weight).double().mean().item(),
        "sparsity": analysis.sparsity(weight),
    }


def decision_numbers(model: nn.Module, test: Read) -> dict[str, Any]:
    """Test accuracy, how much of a score lies outside its 5 largest terms, and what pruning costs."""
    head = analysis.find_head(model)
    device = head.weight.device
    parts = [
        head.parts(units.to(device), logits.argmax(1).to(device)).cpu()
        for units, logits in zip(test.units.split(AT_ONCE), test.logits.split(AT_ONCE), strict=True)
    ]
    counts = [k for k in COUNTS if k < head.weight.shape[1]] + [head.weight.shape[1]]
    return {
        "top1": test.top1,
        "top5": test.top(5),
        "residual_at_5": mean_residual(torch.cat(parts), 5),
        "accuracy_at_weights": {
            "weights": counts,
            "accuracy": [pruned_accuracy(head, test, k) for k in counts],
        },
    }


@torch.no_grad()
def pruned_accuracy(head: analysis.Head, test: Read, count: int) -> float:
    """Accuracy when every class keeps its `count` largest weights, routed as the head routes."""
    kept = analysis.pruned(head.weight, count, per_class=True).view_as(head.layer.weight)
    logits = [
        functional_call(head.layer, {"weight": kept}, (units.to(kept.device),)).cpu()
        for units in test.units.split(AT_ONCE)
    ]
    return test_accuracy(torch.cat(logits), test.labels)


def unit_numbers(found: analysis.Dissection) -> dict[str, Any]:
    """Scores of a layer's labels: the paper's Figure 5 (c, d), and Network Dissection's counts."""
    return {
        "mean_iou": found.best.mean().item(),
        "top100_iou": found.best.sort(descending=True).values[:100].mean().item(),
        "detectors": int(found.detectors().sum()),
        "unique": found.unique_detectors(),
        "convention": found.image_set,
        "images": found.images,
    }


def class_f1(weight: Tensor, found: analysis.Dissection, composition: Tensor) -> float:
    """Mean over classes of the F1 of class -> concept, through the units that are detectors.

    Args:
        weight: of the head, (c, m).
        found: its units' labels.
        composition: which concepts make up which class, (c, concepts), bool.
    """
    named = analysis.class_concepts(
        weight.cpu(), found.label.clamp(min=0), found.detectors(), composition.shape[1]
    )
    return analysis.agreement(named, composition).f1.mean().item()

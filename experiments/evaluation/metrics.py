"""What is recorded of a trained net: its numbers, and all that an explanation of a few images needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.evaluation.measures import test_accuracy
from experiments.models.classifiers import Classifier
from interpretable_sgd import analysis

KEPT_COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96)


def evaluate(
    model: Classifier, validation: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]
) -> dict[str, Any]:
    """The numbers of `measures.DEFINITIONS` for a trained net."""
    head = analysis.find_head(model)
    weight = head.weight
    units, logits = read(model, head, test[0])
    _, held_out = read(model, head, validation[0])
    counts = [k for k in KEPT_COUNTS if k <= weight.shape[1]]
    accuracies = analysis.accuracy_at(weight, head.bias, units, test[1], counts, per_class=True)
    return {
        "test_accuracy": test_accuracy(logits, test[1]),
        "validation_accuracy": test_accuracy(held_out, validation[1]),
        "weights_per_class": analysis.weights_per_class(weight).double().mean().item(),
        "sparsity": analysis.sparsity(weight),
        "residual_at_5": mean_residual(head.parts(units, logits.argmax(1)), 5),
        "accuracy_at_weights": {"weights": counts, "accuracy": accuracies},
    }


def read(
    model: Classifier, head: analysis.Head, images: Tensor, at_once: int = 500
) -> tuple[Tensor, Tensor]:
    """Units, (n, m), and logits, (n, c), in evaluation mode; the model's mode is restored."""
    found = []
    with analysis.reading(model, head) as last:
        for part in images.split(at_once):
            model(part)
            found.append(last.take())
    units, logits = zip(*found, strict=True)
    return torch.cat(units), torch.cat(logits)


def mean_residual(parts: Tensor, k: int) -> float:
    """Mean over images of the share of sum_m |W_cm x_m| outside its k largest terms.

    An image without any contribution counts 0.

    >>> round(mean_residual(torch.tensor([[4.0, -4.0, 1.0, 1.0]]), k=2), 6)
    0.2
    """
    sizes = analysis.shares(parts.abs().double(), denominator="absolute")
    return analysis.residual(sizes, k).nan_to_num(0).mean().item()


@torch.no_grad()
def explain(model: Classifier, images: Tensor) -> dict[str, np.ndarray]:
    """All that a reader needs to recompute the logits of some images: units, head, and unit maps."""
    model.eval()
    found = {
        "images": images,
        "maps": model.maps(images),
        "units": model.units(images),
        "logits": model(images),
        "weight": model.fc.weight,
        "bias": model.fc.bias,
    }
    return {name: value.cpu().numpy() for name, value in found.items()}

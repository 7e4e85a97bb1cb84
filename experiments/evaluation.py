"""What is recorded of a trained net: its numbers, and all that an explanation of a few images needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments import measures
from experiments.models import Classifier

KEPT_COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96)


def evaluate(
    model: Classifier, validation: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]
) -> dict[str, Any]:
    """The numbers of `measures.DEFINITIONS` for a trained net."""
    weight, bias = model.fc.weight.detach(), model.fc.bias.detach()
    units = measures.read_units(model, test[0])
    logits = units @ weight.T + bias
    held_out = measures.read_units(model, validation[0]) @ weight.T + bias
    counts = [k for k in KEPT_COUNTS if k <= weight.shape[1]]
    parts = measures.contributions(weight, units, logits.argmax(1))
    return {
        "test_accuracy": measures.test_accuracy(logits, test[1]),
        "validation_accuracy": measures.test_accuracy(held_out, validation[1]),
        "weights_per_class": measures.weights_per_class(weight),
        "sparsity": measures.sparsity(weight),
        "residual_at_5": measures.residual(parts, 5),
        "accuracy_at_weights": {
            "weights": counts,
            "accuracy": measures.accuracy_at(weight, bias, units, test[1], counts),
        },
    }


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

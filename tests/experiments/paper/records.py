"""Records made by hand."""

from pathlib import Path

from experiments.store import Stored


def run(method="SGD", data="cifar10", seed=0, scale="tiny", model="resnet18", **numbers):
    """A stored run whose numbers are told, or round."""
    record = {
        "model": model,
        "method": method,
        "data": data,
        "seed": seed,
        "scale": scale,
        "accuracy": 0.5,
        "top5": 0.9,
        "validation_accuracy": 0.4,
        "weights_per_class": 64.0,
        "residual_at_5": 0.25,
        "unit_labels": None,
        "accuracy_at_weights": {"weights": [1, 5, 64], "accuracy": [0.1, 0.3, 0.5]},
        **numbers,
    }
    return Stored(Path("nowhere"), record)


def heads(*points, solver="saga"):
    """Sparse heads, of weights and accuracies."""
    return [{"solver": solver, "weights": w, "accuracy": a} for w, a in points]

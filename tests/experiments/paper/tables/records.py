"""Records made by hand."""

from pathlib import Path

from experiments.paper.store import Stored


def run(network="resnet18", method="sgd", data="cifar10", seed=0, scale="tiny", **numbers):
    """A stored run whose numbers are told, or round."""
    record = {
        "network": network,
        "method": method,
        "data": data,
        "seed": seed,
        "scale": scale,
        "top1": 0.5,
        "top5": 0.9,
        "validation_top1": 0.4,
        "weights_per_class": 64.0,
        "residual_at_5": 0.25,
        "unit_labels": None,
        "accuracy_at_weights": {"weights": [1, 5, 64], "accuracy": [0.1, 0.3, 0.5]},
        **numbers,
    }
    return Stored(Path("nowhere"), record)

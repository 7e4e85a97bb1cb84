"""Numbers of a trained network: its decisions, its head, and what a smaller head would cost.

Index legend: `n` image, `m` unit, `c` class.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader

from experiments.datasets.dataset import InMemory, Labelled
from interpretable_sgd import analysis

COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
AT_ONCE = 500  # images in a forward pass
DEFINITIONS = {
    "accuracy": "share of test images whose largest logit is the label's; looked at once",
    "top5": "share of test images whose label is among the five largest logits",
    "validation_accuracy": "accuracy on validation images, which choices may use",
    "weights_per_class": "mean over rows of the head of #{m: |W_cm| >= 1e-3}",
    "sparsity": "share of the head's weights with |W_cm| < 1e-3",
    "residual_at_5": "mean over test images of 1 - (sum of the 5 largest |W_cm x_m|) / "
    "(sum over all m of |W_cm x_m|), c the predicted class; the bias is in neither sum",
    "signed_residual": "by k, the median over test images of 1 - the k largest contribution scores "
    "W_cm x_m / sum_m W_cm x_m, of all units, the paper's of Figure 7; none where the sum is not positive",
    "reach_95": "mean over test images of the fewest |W_cm x_m| that make up 95 % of their sum (NCC)",
    "accuracy_at_weights": "accuracy when every class keeps its k largest weights, not refitted",
    "sparse_heads": "heads fitted on the frozen units of the dense net, refitted without the penalty where "
    "validation images say so",
    "gradient": "<g', g''>, gradients of the loss on two disjoint batches of the size trained on, "
    "batch norm as in training: unbiased for the squared norm of the training objective's gradient",
}


class Outputs(NamedTuple):
    """What a network says of some images, on the CPU: units (n, m), logits (n, c), labels (n,)."""

    units: Tensor
    logits: Tensor
    labels: Tensor

    def accuracy(self, k: int = 1) -> float:
        """Share of images whose label is among the k largest logits."""
        return accuracy(self.logits, self.labels, k)


def accuracy(logits: Tensor, labels: Tensor, k: int = 1) -> float:
    """Share of images whose label is among the k largest logits, all of them where there are fewer.

    >>> logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 4.0]])
    >>> accuracy(logits, torch.tensor([0, 1])), accuracy(logits, torch.tensor([0, 1]), k=2)
    (0.5, 1.0)
    """
    if k == 1:
        return (logits.argmax(1) == labels).double().mean().item()
    highest = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return (highest == labels[:, None]).any(1).double().mean().item()


def read(model: nn.Module, images: Labelled, workers: int = 0) -> Outputs:
    """Read a network on a map-style data set of (image, label), in evaluation mode; its mode is restored."""
    device = next(model.parameters()).device
    outputs = []
    with analysis.reading(model, analysis.find_head(model)) as last:
        for batch, labels in batches(images, workers):
            model(batch.to(device))
            units, logits = last.take()
            outputs.append(Outputs(units.cpu(), logits.cpu(), labels))
    return Outputs(*map(torch.cat, zip(*outputs, strict=True)))


def batches(images: Labelled, workers: int = 0) -> Any:
    """Images and labels in order; those in memory without a copy of each."""
    if isinstance(images, InMemory):
        return zip(images.samples.split(AT_ONCE), images.labels.split(AT_ONCE), strict=True)
    return DataLoader(images, AT_ONCE, num_workers=workers)


def mean_residual(parts: Tensor, k: int) -> float:
    """Mean over images of the share of sum_m |W_cm x_m| outside its k largest terms.

    An image without any contribution counts 0.

    >>> round(mean_residual(torch.tensor([[4.0, -4.0, 1.0, 1.0]]), k=2), 6)
    0.2
    """
    sizes = analysis.shares(parts.abs().double(), denominator="absolute")
    return analysis.residual(sizes, k).nan_to_num(0).mean().item()


def signed_residual(products: Tensor) -> dict[str, float | None]:
    """By k, the median over images of what the k largest contribution scores leave, 4 and 5; None without any score.

    >>> signed_residual(torch.tensor([[4.0, 2.0, 1.0, 1.0, 1.0, 1.0], [-1.0, 0.0, 0.0, 0.0, 0.0, 0.0]]))
    {'4': 0.2, '5': 0.1}
    """
    shares = analysis.shares(products.double(), denominator="signed")
    medians = {k: analysis.residual(shares, k).nanmedian().item() for k in (4, 5)}
    return {str(k): None if math.isnan(m) else round(m, 12) for k, m in medians.items()}


def mean_reach(parts: Tensor, level: float) -> float:
    """Mean over images of how many terms, largest first, reach a share of sum_m |W_cm x_m|.

    An image without any contribution counts 0.

    >>> mean_reach(torch.tensor([[4.0, -4.0, 1.0, 1.0], [2.0, 0.0, 0.0, 0.0]]), 0.8)
    1.5
    """
    sizes = analysis.shares(parts.abs().double(), denominator="absolute")
    return analysis.units_to_reach(sizes, level).nan_to_num(0).mean().item()


def weights_per_class(weight: Tensor) -> float:
    """Mean number of weights of a class that are at least 1e-3 in size, of a head (c, m)."""
    return float(analysis.weights_per_class(weight).double().mean())


def head_metrics(model: nn.Module) -> dict[str, float]:
    """How many weights the head has that are not 0."""
    weight = analysis.find_head(model).weight
    return {"weights_per_class": weights_per_class(weight), "sparsity": analysis.sparsity(weight)}


def decision_metrics(model: nn.Module, test: Outputs) -> dict[str, Any]:
    """Accuracy, how much of a score lies outside its 5 largest terms, and what pruning costs."""
    head = analysis.find_head(model)
    device = head.weight.device
    decided = [
        (units.to(device), logits.argmax(1).to(device))
        for units, logits in zip(test.units.split(AT_ONCE), test.logits.split(AT_ONCE), strict=True)
    ]
    parts = torch.cat([head.parts(*batch).cpu() for batch in decided])
    products = torch.cat([head.products(*batch).cpu() for batch in decided])
    units = head.weight.shape[1]
    counts = [k for k in COUNTS if k < units] + [units]
    return {
        "accuracy": test.accuracy(),
        "top5": test.accuracy(5),
        "residual_at_5": mean_residual(parts, 5),
        "signed_residual": signed_residual(products),
        "reach_95": mean_reach(parts, 0.95),
        "accuracy_at_weights": {
            "weights": counts,
            "accuracy": [pruned_accuracy(head, test, k) for k in counts],
        },
    }


@torch.no_grad()
def pruned_accuracy(head: analysis.Head, test: Outputs, count: int) -> float:
    """Accuracy when every class keeps its `count` largest weights, routed as the head routes."""
    kept = analysis.pruned(head.weight, count, per_class=True).view_as(head.layer.weight)
    logits = [
        functional_call(head.layer, {"weight": kept}, (units.to(kept.device),)).cpu()
        for units in test.units.split(AT_ONCE)
    ]
    return accuracy(torch.cat(logits), test.labels)

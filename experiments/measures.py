"""What is measured on a trained classifier, as functions of tensors.

A contribution is W_cm x_m; a logit is the sum of its contributions and its bias.
Index legend: `n` image, `m` unit, `c` class.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

THRESHOLD = 1e-3

DEFINITIONS = {
    "test_accuracy": "share of test images whose largest logit is the label's; looked at once",
    "validation_accuracy": "the same on validation images, which choices may use",
    "weights_per_class": "mean over rows of the head of #{m: |W_cm| >= 1e-3}",
    "sparsity": "share of the head's weights with |W_cm| < 1e-3",
    "residual_at_5": "mean over test images of 1 - (sum of the 5 largest |W_cm x_m|) / "
    "(sum over all m of |W_cm x_m|), c the predicted class; the bias is in neither sum",
    "gradient": "<g', g''>, gradients of the loss on two disjoint batches of the size trained on, "
    "batch norm as in training: unbiased for the squared norm of the training objective's gradient",
}


@torch.no_grad()
def read_units(model: nn.Module, images: Tensor, at_once: int = 500) -> Tensor:
    """What the head reads in evaluation, (n, m); the model's mode is restored."""
    training = model.training
    model.eval()
    units = torch.cat([model.units(part) for part in images.split(at_once)])
    model.train(training)
    return units


def test_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of images whose largest logit is the label's.

    >>> test_accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    0.5
    """
    return (logits.argmax(1) == labels).double().mean().item()


test_accuracy.__test__ = False  # a measure, not a test to be collected


def weights_per_class(weight: Tensor, threshold: float = THRESHOLD) -> float:
    """Mean over rows of #{m: |W_cm| >= threshold}; `weight` is (c, m)."""
    return (weight.abs() >= threshold).sum(1).double().mean().item()


def sparsity(weight: Tensor, threshold: float = THRESHOLD) -> float:
    """Share of weights with |W_cm| < threshold."""
    return (weight.abs() < threshold).double().mean().item()


def contributions(weight: Tensor, units: Tensor, classes: Tensor) -> Tensor:
    """W_cm x_nm of one class per image, (n, m): with the bias they add up to the logit.

    Args:
        weight: head, (c, m).
        units: (n, m).
        classes: which class of each image, (n,).
    """
    return weight[classes] * units


def residual(parts: Tensor, k: int = 5) -> float:
    """Mean over images of the share of sum_m |W_cm x_m| outside its k largest terms.

    The denominator is the absolute sum over all units, without bias; an image without any contribution
    counts 0.

    Args:
        parts: contributions, (n, m).
        k: units kept.

    >>> residual(torch.tensor([[4.0, -4.0, 1.0, 1.0]]), k=2)
    0.2
    """
    sizes = parts.abs().double().sort(1, descending=True).values
    total = sizes.sum(1)
    outside = sizes[:, k:].sum(1)
    return torch.where(total > 0, outside / total.clamp(min=1e-300), 0).mean().item()


def accuracy_at(
    weight: Tensor, bias: Tensor, units: Tensor, labels: Tensor, counts: Sequence[int]
) -> list[float]:
    """Accuracy with the k largest |W_cm| of every row alone, not refitted, for each k of `counts`."""
    order = weight.abs().argsort(1, descending=True)
    accuracies = []
    for k in counts:
        kept = torch.zeros_like(weight).scatter(1, order[:, :k], weight.gather(1, order[:, :k]))
        accuracies.append(test_accuracy(units @ kept.T + bias, labels))
    return accuracies


def squared_gradient_norm(
    model: nn.Module, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]
) -> float:
    """<g', g''>: unbiased for |grad F|^2, F the expected cross-entropy of a batch.

    A single batch's |g|^2 exceeds |grad F|^2 by the variance of g; the product of independent ones does
    not, and may be negative. The gradients are a copy's: the model, its batch-norm statistics, hooks and
    `.grad` are left alone.

    Args:
        model: in training mode batch norm uses the statistics of each batch, as a training step does.
        first: images and labels.
        second: disjoint from the first.
    """
    twin = copy.deepcopy(model)
    weights = [p for p in twin.parameters() if p.requires_grad]
    halves = [
        torch.autograd.grad(nn.functional.cross_entropy(twin(images), labels), weights)
        for images, labels in (first, second)
    ]
    return sum((a.double() * b.double()).sum().item() for a, b in zip(*halves, strict=True))

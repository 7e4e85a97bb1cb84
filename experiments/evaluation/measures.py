"""What is measured on a training run, and what its numbers mean.

Index legend: `n` image, `m` unit, `c` class.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

DEFINITIONS = {
    "test_accuracy": "share of test images whose largest logit is the label's; looked at once",
    "validation_accuracy": "the same on validation images, which choices may use",
    "weights_per_class": "mean over rows of the head of #{m: |W_cm| >= 1e-3}",
    "sparsity": "share of the head's weights with |W_cm| < 1e-3",
    "residual_at_5": "mean over test images of 1 - (sum of the 5 largest |W_cm x_m|) / "
    "(sum over all m of |W_cm x_m|), c the predicted class; the bias is in neither sum",
    "sparse_heads": "multinomial L1 regressions on the frozen units of the dense net, a point for each "
    "strength, refitted without the penalty where validation images say so",
    "gradient": "<g', g''>, gradients of the loss on two disjoint batches of the size trained on, "
    "batch norm as in training: unbiased for the squared norm of the training objective's gradient",
}


def test_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of images whose largest logit is the label's.

    >>> test_accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    0.5
    """
    return (logits.argmax(1) == labels).double().mean().item()


test_accuracy.__test__ = False  # a measure, not a test to be collected


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

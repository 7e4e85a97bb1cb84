"""One honest training loop: forward, backward, step, schedule, record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from experiments.evaluation.measures import squared_gradient_norm


@dataclass
class History:
    """What a run left behind.

    Attributes:
        losses: of each step's batch, before the step.
        gradient_steps: steps after which the gradient was measured.
        gradients: <g', g''> there.
        seconds: training alone.
        measuring_seconds: gradients of the figure, and what `look` does.
    """

    losses: list[float] = field(default_factory=list)
    gradient_steps: list[int] = field(default_factory=list)
    gradients: list[float] = field(default_factory=list)
    seconds: float = 0.0
    measuring_seconds: float = 0.0


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch: int,
    seed: int,
    share: float = 0.04,
    report: Callable[[float], None] = lambda loss: None,
    look: Callable[[int], None] = lambda epoch: None,
) -> History:
    """Train on batches without replacement, cosine schedule over the whole run.

    Args:
        model: trained in place.
        optimizer: over the model's parameters.
        images: all training images, on the model's device.
        labels: their classes.
        epochs: passes, >= 1; an incomplete last batch is dropped.
        batch: images in a step.
        seed: of the order, which depends on nothing else.
        share: of the steps' work that measuring gradients may cost, in [0, 1).
        report: told the loss after each step.
        look: told the epoch before the first and after each; its seconds do not count as training's.

    Raises:
        ValueError: fewer images than two batches, which a gradient measurement needs.
        FloatingPointError: the loss is not finite.
    """
    n = len(images)
    if n < 2 * batch:
        raise ValueError(f"images must be at least 2 batches of {batch}, got {n}")
    steps = epochs * (n // batch)
    schedule = CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(seed)
    sample = torch.Generator().manual_seed(seed + 2**32)
    measured = measuring_steps(steps, share)
    history = History()
    losses: list[Tensor] = []
    start = time.perf_counter()
    model.train()
    history.measuring_seconds += _timed(look, 0)
    for epoch in range(epochs):
        for chosen in torch.randperm(n, generator=order).split(batch)[: n // batch]:
            chosen = chosen.to(images.device)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
            report(_finite(loss, len(losses)))
            if len(losses) in measured:
                history.measuring_seconds += _measure(
                    model, images, labels, batch, sample, len(losses), history
                )
        history.measuring_seconds += _timed(look, epoch + 1)
    history.losses = torch.stack(losses).tolist()
    history.seconds = time.perf_counter() - start - history.measuring_seconds
    return history


def measuring_steps(steps: int, share: float) -> set[int]:
    """Log-spaced steps from the first to the last, so few that measuring costs `share` of the run.

    Each takes two batches forward and backward.

    >>> sorted(measuring_steps(200, 0.04))
    [1, 6, 34, 200]
    """
    points = min(int(share * steps / 2), 40)
    if points < 2:
        return {steps} if share > 0 else set()
    return {round(steps ** (i / (points - 1))) for i in range(points)}


def _timed(look: Callable[[int], None], epoch: int) -> float:
    start = time.perf_counter()
    look(epoch)
    return time.perf_counter() - start


def _finite(loss: Tensor, step: int) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(f"the loss is {value} at step {step}")
    return value


def _measure(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    batch: int,
    sample: torch.Generator,
    step: int,
    history: History,
) -> float:
    start = time.perf_counter()
    chosen = torch.randperm(len(images), generator=sample)[: 2 * batch].to(images.device)
    first, second = ((images[half], labels[half]) for half in chosen.split(batch))
    history.gradient_steps.append(step)
    history.gradients.append(squared_gradient_norm(model, first, second))
    return time.perf_counter() - start

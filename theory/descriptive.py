"""Training a network whose F is a mean over a fixed subset, and measuring it on the way."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd import InterpretableSGD

PER_SAMPLE = "per-sample"
MODES: dict[str, dict[str, Any] | None] = {
    "sgd": None,
    "shared": {"shrink": 0.0, "horizon": 0},
    "unbiased": {"correction": "unbiased", "floor": 0.3},
    PER_SAMPLE: {"mask": "per-sample"},
    "default": {},
}
PRECISIONS = ("float32", "tf32", "bf16")


@dataclass(frozen=True)
class Experiment:
    """A network, its data, and how it is trained.

    Attributes:
        build: a new network from a seed, calibrated.
        images, labels: the fixed subset that F is the mean over.
        batch: B, drawn with replacement.
        scale: c of eta = c / sqrt T.
        block_size: K.
        layers: what is routed.
        readings: steps at which a run is measured.
        precision: one of `PRECISIONS`.
    """

    build: Callable[[int], nn.Module]
    images: Tensor
    labels: Tensor
    batch: int = 16
    scale: float = 0.5
    block_size: float = 5
    layers: str = "head"
    readings: int = 16
    precision: str = "float32"

    def loss(self, net: nn.Module, rows: Tensor) -> Tensor:
        """Mean loss on some samples."""
        kind = self.images.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = net(self.images[rows])
        return nn.functional.cross_entropy(logits.float(), self.labels[rows])


@dataclass
class Outcome:
    """What one run showed: M_T, final loss, and theta of per-sample masks early and late."""

    average: float
    loss: float
    theta: dict[str, float] = field(default_factory=dict)


def train(experiment: Experiment, mode: str, steps: int, seed: int) -> Outcome:
    """One run of T steps."""
    net, twin = experiment.build(seed), experiment.build(seed)
    optimizer = _optimizer(experiment, mode, net, experiment.scale / steps**0.5, seed)
    device, n = experiment.images.device, len(experiment.labels)
    generator = torch.Generator().manual_seed(seed)
    stretch = max(1, steps // experiment.readings)
    reading_at, products, theta = 0, list[Tensor](), dict[str, float]()
    for step in range(steps):
        if step % stretch == 0:
            reading_at = step + int(torch.randint(stretch, (), generator=generator))
        if step == reading_at:
            halves = torch.randint(n, (2, 4 * experiment.batch), generator=generator).to(device)
            products.append(_product(experiment, net, twin, halves))
        rows = torch.randint(n, (experiment.batch,), generator=generator).to(device)
        optimizer.zero_grad()
        with warnings.catch_warnings():
            # That masks per sample may diverge is what is measured here.
            warnings.simplefilter("ignore", UserWarning)
            loss = experiment.loss(net, rows)
        torch.autograd.backward(loss)
        optimizer.step()
        if step in (min(9, steps - 1), steps - 1) and isinstance(optimizer, InterpretableSGD):
            theta |= _theta(optimizer, "early" if step < steps - 1 else "late")
    if isinstance(optimizer, InterpretableSGD):
        optimizer.detach()
    with torch.no_grad():
        final = experiment.loss(net, torch.arange(n, device=device))
    return Outcome(float(torch.stack(products).mean()), float(final), theta)


def _optimizer(
    experiment: Experiment, mode: str, net: nn.Module, lr: float, seed: int
) -> torch.optim.Optimizer:
    options = MODES[mode]
    if options is None:
        return torch.optim.SGD(net.parameters(), lr=lr)
    common: dict[str, Any] = {
        "block_size": experiment.block_size,
        "layers": experiment.layers,
        "seed": seed,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return InterpretableSGD(net.parameters(), lr=lr, **common | options)


def _product(experiment: Experiment, net: nn.Module, twin: nn.Module, halves: Tensor) -> Tensor:
    """<grad f_1, grad f_2> at the weights of a network that hooks may change, on a plain twin."""
    twin.load_state_dict(net.state_dict())
    one, two = (
        torch.autograd.grad(experiment.loss(twin, rows), list(twin.parameters())) for rows in halves
    )
    return torch.stack(
        [(a.double() * b.double()).sum() for a, b in zip(one, two, strict=True)]
    ).sum()


def _theta(optimizer: InterpretableSGD, when: str) -> dict[str, float]:
    """Of all coordinates, the share with theta_j >= 1, and the median."""
    ratios = [ratio.flatten().double().cpu() for ratio in optimizer.bias_ratio().values()]
    if not ratios:
        return {}
    theta = torch.cat(ratios)
    share = float((theta >= 1).double().mean())
    return {f"{when} share": share, f"{when} median": float(theta.median())}

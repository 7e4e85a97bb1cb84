"""Runs of a network whose F is a mean over a fixed subset, recorded on the way."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.convergence import Recorder, gradient_product, supports

MODES: dict[str, dict[str, Any] | None] = {
    "sgd": None,
    "default": {},
    "shared": {"method": "shared", "form": 0, "shrink": 0.0},
    "algorithm3": {"method": "algorithm3"},
}
"""Options of InterpretableSGD; None for torch.optim.SGD."""
PRECISIONS = ("float32", "tf32", "bf16")
SETTLED = 0.5
"""T_0 / T: what is averaged are the steps after it, of all modes."""


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
        readings: steps at which a run is measured, at least.
        precision: one of `PRECISIONS`.
    """

    build: Callable[[int], nn.Module]
    images: Tensor
    labels: Tensor
    batch: int = 16
    scale: float = 0.5
    block_size: int = 5
    layers: str = "head"
    readings: int = 8
    precision: str = "float32"

    def loss(self, net: nn.Module, rows: Tensor) -> Tensor:
        """Mean loss on some samples."""
        kind = self.images.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = net(self.images[rows])
        return nn.functional.cross_entropy(logits.float(), self.labels[rows])


def train(experiment: Experiment, mode: str, steps: int, seed: int) -> Recorder:
    """One run of T steps; "gradient" is |grad F|^2, of the default on its support once settled."""
    net = experiment.build(seed)
    device, n = experiment.images.device, len(experiment.labels)
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> Tensor:
        return torch.randint(n, (count,), generator=generator).to(device)

    with warnings.catch_warnings():
        # That Algorithm 3 may diverge is what is measured here.
        warnings.filterwarnings("ignore", "Algorithm 3 as printed", UserWarning)
        optimizer = _optimizer(experiment, mode, net, steps, seed)
        recorder = Recorder(
            optimizer, horizon=steps, per_decade=4, readings=experiment.readings, seed=seed
        )

        def gradient() -> float:
            """<grad f_1, grad f_2> of two independent half batches, which has no noise in it."""
            settled = isinstance(optimizer, InterpretableSGD) and optimizer.phase == "settle"
            first, second = draw(2 * experiment.batch), draw(2 * experiment.batch)
            return gradient_product(
                net,
                lambda m: experiment.loss(m, first),
                lambda m: experiment.loss(m, second),
                weights=supports(net, optimizer) if settled else None,  # type: ignore[arg-type]
            )

        for _ in range(steps):
            optimizer.zero_grad()
            loss = experiment.loss(net, draw(experiment.batch))
            torch.autograd.backward(loss)
            recorder.step(loss, gradient=gradient)
            optimizer.step()
    if isinstance(optimizer, InterpretableSGD):
        optimizer.detach()
    return recorder


def _optimizer(
    experiment: Experiment, mode: str, net: nn.Module, steps: int, seed: int
) -> torch.optim.Optimizer:
    options, lr = MODES[mode], experiment.scale / steps**0.5
    if options is None:
        return torch.optim.SGD(net.parameters(), lr=lr)
    clock = {"form": steps // 5, "settle": round(SETTLED * steps)} if mode == "default" else {}
    common: dict[str, Any] = {"layers": experiment.layers, "seed": seed} | clock | options
    return InterpretableSGD(net.parameters(), lr=lr, block_size=experiment.block_size, **common)

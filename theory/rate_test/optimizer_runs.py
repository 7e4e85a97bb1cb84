"""The real optimizer on regressions with known constants, all seeds of both starts at once.

One Linear layer holds every run: its rows are regressions of their own, each with its own samples.
Masks are drawn per coordinate and blocks are rows, so a step of the optimizer is a step of every
run; rows share only the scale on which a step enters the running mean of the constants. Where
probabilities are normalised over a layer (method="algorithm3"), every run has its own layer.

This is where judge and judged meet: what is measured comes from `problems`, never from the library.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from interpretable_sgd import Guarantee, InterpretableSGD
from theory.reference.problems import GEMAN_MCCLURE, LOGISTIC, SQUARES, Array, Regression

LOSSES: dict[int, Callable[[Tensor, Tensor], Tensor]] = {
    id(SQUARES): lambda z, y: (z - y).square() / 2,
    id(LOGISTIC): lambda z, y: nn.functional.softplus(-y * z),
    id(GEMAN_MCCLURE): lambda z, y: 1 - 1 / (1 + (z - y).square()),
}
SAMPLED_EVERY = 16
"""Steps in a stretch, of which one is read for what enters a bound: probabilities, variances."""


@dataclass(frozen=True)
class Setup:
    """How an optimizer is run.

    Attributes:
        problem: least squares, logistic or Geman-McClure regression; a ridge is left to the
            optimizer's weight decay.
        options: of InterpretableSGD; None for torch.optim.SGD.
        batch: B, drawn with replacement; 0 for all samples.
        separate: a layer for every run.
        momentum: for either optimizer.
    """

    problem: Regression
    options: dict[str, Any] | None = field(default_factory=dict)
    batch: int = 1
    separate: bool = False
    momentum: float = 0.0


class Reading(NamedTuple):
    """Means over sampled steps, of each run, (R,) or (R, d).

    Attributes:
        weighted: |grad F|_Pi^2.
        pi: probabilities, (R, d).
        noise: sum_j pi_j Var_j / B.
        moment: E|u|^2 = sum_j pi_j (Var_j / B + (d_j F)^2).
        shrink: mean of `bounds.shrink_term`, if a rule for amounts was given.
    """

    weighted: Array
    pi: Array
    noise: Array
    moment: Array
    shrink: Array


class Run(NamedTuple):
    """What a run of T steps showed.

    Attributes:
        square: (1/T) sum_t |grad F(w_t)|^2, (R,).
        path: (len(stops), R) of F(w_t) - F* at the steps asked for.
        w: final weights, (R, d).
        reading: what bounds need.
        guarantee: what the optimizer promised.
    """

    square: Array
    path: Array
    w: Array
    reading: Reading
    guarantee: Guarantee | None


Probe = Callable[[int, Array], Array]
"""(step, probabilities (R, d)) -> a term of a bound, (R,)."""


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Without the warning that Algorithm 3 may diverge, where that is what is measured."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Algorithm 3 as printed", UserWarning)
        yield


@unwarned()
def run(
    setup: Setup,
    starts: Array,
    eta: float | Callable[[int], float],
    steps: int,
    seed: int,
    *,
    stops: tuple[int, ...] = (),
    shrink: Probe | None = None,
) -> Run:
    """Train rows from their starts.

    Args:
        starts: w_0 of every run, (R, d).
        eta: learning rate, or a function of the number of steps done.
        stops: numbers of steps after which F - F* is noted; needs a known minimum.
        shrink: a term of a bound, read at sampled steps.
    """
    problem, rows = setup.problem, len(starts)
    x, y = torch.from_numpy(problem.x), torch.from_numpy(np.asarray(problem.y, dtype=np.float64))
    layers: list[nn.Linear] = _layers(starts, setup.separate)
    optimizer = _optimizer(setup, layers, float(eta(0) if callable(eta) else eta), seed)
    generator = torch.Generator().manual_seed(seed)
    loss_of = LOSSES[id(problem.link)]
    batch = setup.batch or problem.n
    offsets = problem.n * torch.arange(setup.batch)[:, None]
    inputs = x.repeat(max(1, setup.batch), 1)
    square, sums, readings = np.zeros(rows), [np.zeros(rows) for _ in range(4)], 0
    mean_pi, path, promise = np.zeros_like(starts), [], None
    # One step in every stretch of them, at random: what is read has the mean of all steps.
    rng, every = np.random.default_rng(seed), SAMPLED_EVERY if setup.batch else 1
    reading_at = int(rng.integers(every))
    for step in range(steps):
        w = _weights(layers)
        full = problem.gradient(w)
        square += (full**2).sum(-1)
        if step in stops:
            path.append(problem.value(w) - problem.known("minimum"))
        if step == reading_at:
            pi, G = _probabilities(optimizer, setup, w), problem.gradients(w)
            mean_pi, readings = mean_pi + pi, readings + 1
            terms = _terms(pi, G, full, setup.batch)
            terms = (*terms, shrink(step, pi) if shrink else np.zeros(rows))
            sums = [total + term for total, term in zip(sums, terms, strict=True)]
        if callable(eta):
            for group in optimizer.param_groups:
                group["lr"] = eta(step)
        z = torch.cat([layer(inputs) for layer in layers], dim=1)
        if setup.batch:
            index = torch.randint(problem.n, (setup.batch, rows), generator=generator)
            loss = loss_of(z.gather(0, index + offsets), y[index]).sum() / batch
        else:
            loss = loss_of(z, y[:, None]).sum() / batch
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if step == 0 and isinstance(optimizer, InterpretableSGD):
            promise = optimizer.guarantee()
        if step % every == every - 1:
            reading_at = step + 1 + int(rng.integers(every))
    w = _weights(layers)
    if steps in stops:
        path.append(problem.value(w) - problem.known("minimum"))
    if isinstance(optimizer, InterpretableSGD):
        optimizer.detach()
    means = [total / max(1, readings) for total in sums]
    reading = Reading(means[0], mean_pi / max(1, readings), *means[1:])
    return Run(square / steps, np.array(path), w, reading, promise)


def _layers(starts: Array, separate: bool) -> list[nn.Linear]:
    parts = np.split(starts, len(starts)) if separate else [starts]
    layers = []
    for part in parts:
        layer = nn.Linear(part.shape[1], len(part), bias=False, dtype=torch.float64)
        layer.weight.data.copy_(torch.from_numpy(np.ascontiguousarray(part)))
        layers.append(layer)
    return layers


def _optimizer(
    setup: Setup, layers: list[nn.Linear], lr: float, seed: int
) -> torch.optim.SGD | InterpretableSGD:
    model = nn.ModuleList(layers)
    common: dict[str, Any] = {
        "lr": lr,
        "momentum": setup.momentum,
        "weight_decay": setup.problem.ridge,
    }
    if setup.options is None:
        return torch.optim.SGD(model.parameters(), **common)
    options: dict[str, Any] = {"layers": "all", "seed": seed} | common | setup.options
    optimizer = InterpretableSGD(model.parameters(), **options)
    optimizer.attach(model)
    return optimizer


def _weights(layers: list[nn.Linear]) -> Array:
    return np.concatenate([layer.weight.detach().numpy() for layer in layers]).copy()


def _probabilities(optimizer: torch.optim.Optimizer, setup: Setup, starts: Array) -> Array:
    """pi of every run, (R, d), as the optimizer itself reports them; 1 where nothing is masked."""
    units = optimizer.routed_units() if isinstance(optimizer, InterpretableSGD) else {}
    if units:
        return np.concatenate([unit.probabilities.numpy() for unit in units.values()])
    # Before the first step masks are uniform, or the block has not begun to narrow.
    options = setup.options or {"form": 1}
    narrow = options.get("form") == 0
    return np.full_like(starts, options["block_size"] / starts.shape[1] if narrow else 1.0)


def _terms(pi: Array, G: Array, full: Array, batch: int) -> tuple[Array, ...]:
    variances = G.var(1) / batch if batch else np.zeros_like(full)
    return (
        (pi * full**2).sum(-1),
        (pi * variances).sum(-1),
        (pi * (variances + full**2)).sum(-1),
    )

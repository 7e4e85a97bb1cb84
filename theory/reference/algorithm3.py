"""Algorithm 3 and its repairs, all seeds at once, in NumPy and float64.

Written from the definitions and sharing no code with the library: this is what the bounds judge.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from theory.reference.probabilities import floored, literal, top, waterfill
from theory.reference.problems import Array, Problem

StepSize = float | Callable[[int], float]


@dataclass(frozen=True)
class Method:
    """A way to mask.

    Attributes:
        scope: "dense", no mask; "shared", one mask for the batch from the running mean of past
            constants; "same-batch", one mask from the batch it masks; "sample", one per sample.
        pi: "literal", "waterfill", "top", or fixed probabilities, (d,).
        gamma: exponent of the constants, 1 / (1 - s).
        block: K.
        floor: eps.
        score: "lipschitz", the local constants L_ij; "gradient", g_ij^2.
        unbiased: divide what is selected by its probability.
        single: draw exactly one coordinate with probabilities pi, which must sum to 1.
        memory: of the running mean.
        sampling: "replacement"; "poisson", p_i ~ Bernoulli(B / n) as in Algorithm 3; "full".
        momentum: b of m = b m + u.
        shrink: a >= 0; after a step weights are soft-thresholded by a (1 - pi_j).
    """

    scope: str = "shared"
    pi: str | Array = "waterfill"
    gamma: float = 2.0
    block: float = 1.0
    floor: float = 0.0
    score: str = "lipschitz"
    unbiased: bool = False
    single: bool = False
    memory: float = 0.9
    sampling: str = "replacement"
    momentum: float = 0.0
    shrink: float = 0.0

    def probabilities(self, scores: Array) -> Array:
        """pi of scores, (..., d)."""
        if isinstance(self.pi, np.ndarray):
            return np.broadcast_to(self.pi, scores.shape)
        if self.pi == "literal":
            pi = literal(scores, self.gamma)
        elif self.pi == "top":
            pi = top(scores, self.block)
        else:
            pi = waterfill(scores, self.block, self.gamma)
        return floored(pi, self.floor, self.block) if self.floor else pi

    @property
    def adapts(self) -> bool:
        """Whether probabilities follow the constants."""
        return not isinstance(self.pi, np.ndarray) and self.scope != "dense"


class Moment(NamedTuple):
    """What a measure sees of a step, before the weights move; S seeds.

    Attributes:
        w: weights, (S, d).
        gradients: per sample, (S, n, d).
        gradient: grad F(w), (S, d).
        pi: probabilities: (S, d), or (S, m, d) with one row for each sample of the batch.
        time: t.
    """

    w: Array
    gradients: Array
    gradient: Array
    pi: Array
    time: int


Measure = Callable[[Moment], Array]


class Run(NamedTuple):
    """Weights after T steps, (S, d), their mean over the steps, and of every measure its mean and
    its maximum over the steps, (S,)."""

    w: Array
    mean_w: Array
    means: dict[str, Array]
    maxima: dict[str, Array]


def square(moment: Moment) -> Array:
    """|grad F|^2."""
    return np.asarray((moment.gradient**2).sum(-1))


def weighted(moment: Moment) -> Array:
    """|grad F|_Pi^2 with the mean of per-sample probabilities."""
    pi = moment.pi.mean(1) if moment.pi.ndim == 3 else moment.pi
    return np.asarray((pi * moment.gradient**2).sum(-1))


def run(
    problem: Problem,
    method: Method,
    eta: StepSize,
    steps: int,
    seeds: int,
    rng: np.random.Generator,
    *,
    batch: int = 1,
    start: Array | None = None,
    measures: Mapping[str, Measure] | None = None,
) -> Run:
    """Descend from the problem's start, or another, with independent draws for every seed.

    Args:
        eta: step size, or a function of the step's number from 0.
        batch: B.
        measures: what to average over the steps.
    """
    w = np.array(np.broadcast_to(problem.start if start is None else start, (seeds, problem.d)))
    memory, buffer, mean_w = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    measures = measures or {}
    means = {name: np.zeros(seeds) for name in measures}
    maxima = {name: np.full(seeds, -np.inf) for name in measures}
    for time in range(steps):
        rate = eta(time) if callable(eta) else eta
        G = problem.gradients(w)
        scores = _scores(problem, method, w, G) if method.adapts else G
        weights, drawn, drawn_scores = _batch(method, G, scores, batch, rng)
        pi = _pi(method, drawn_scores, weights, memory)
        if measures:
            moment = Moment(w, G, G.mean(1), pi, time)
            for name, measure in measures.items():
                value = measure(moment)
                means[name] += value / steps
                maxima[name] = np.maximum(maxima[name], value)
        mean_w += w / steps
        u = _update(method, weights, drawn, pi, rng)
        if method.scope == "shared" and method.adapts:
            batch_mean = (weights[..., None] * drawn_scores).sum(1)
            memory = method.memory * memory + (1 - method.memory) * batch_mean
        buffer = method.momentum * buffer + u
        w = w - rate * buffer
        if method.shrink:
            w = np.sign(w) * np.maximum(0.0, np.abs(w) - method.shrink * (1 - pi))
    return Run(w, mean_w, means, maxima)


def _scores(problem: Problem, method: Method, w: Array, G: Array) -> Array:
    """Constants that rank coordinates, (S, n, d), >= 0."""
    if method.score == "gradient":
        return G**2
    local = problem.scores(w) if method.scope == "sample" else problem.curvatures(w)
    return np.maximum(0.0, local)


def _batch(
    method: Method, G: Array, scores: Array, batch: int, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Weights of the drawn samples in the mean, (S, m), their gradients and scores, (S, m, d)."""
    seeds, n, _ = G.shape
    if method.sampling == "full":
        return np.full((seeds, n), 1 / n), G, scores
    if method.sampling == "poisson":
        return (rng.random((seeds, n)) < batch / n) / batch, G, scores
    index = rng.integers(n, size=(seeds, batch))
    rows = np.arange(seeds)[:, None]
    return np.full((seeds, batch), 1 / batch), G[rows, index], scores[rows, index]


def _pi(method: Method, scores: Array, weights: Array, memory: Array) -> Array:
    """(S, d), or (S, m, d) per sample."""
    if method.scope == "dense":
        return np.ones_like(memory)
    if method.scope == "sample":
        return method.probabilities(scores)
    if method.scope == "same-batch":
        return method.probabilities((weights[..., None] * scores).sum(1))
    return method.probabilities(memory)


def _update(method: Method, weights: Array, G: Array, pi: Array, rng: np.random.Generator) -> Array:
    """u: the masked mean gradient of the batch, (S, d)."""
    if method.scope == "dense":
        return np.asarray((weights[..., None] * G).sum(1))
    if method.single:
        chosen = (pi.cumsum(-1) < rng.random((*pi.shape[:-1], 1))).sum(-1, keepdims=True)
        q = (np.arange(pi.shape[-1]) == chosen).astype(float)
    else:
        q = (rng.random(pi.shape) < pi).astype(float)
    scale = q / np.where(pi > 0, pi, 1) if method.unbiased else q
    if method.scope == "sample":
        return np.asarray((weights[..., None] * scale * G).sum(1))
    return np.asarray(scale * (weights[..., None] * G).sum(1))

"""Theorem 1 as printed, against problems on which it is false: CE1, CE2, CE4, a saddle, noise.

"converges at O(1/t)" is judged by its mildest consequence: with four times the steps the squared
gradient falls to at most a half, as it would even at O(1 / sqrt t).
"""

from math import lgamma

import numpy as np

from theory.claim import FAILS, Check, claim
from theory.reference.algorithm3 import Method, run
from theory.reference.probabilities import literal
from theory.reference.problems import Array, Problem
from theory.reference.suite import ce1, ce2, ce4


def _fall(problem: Problem, method: Method, scale: float, quick: bool, seed: int) -> Check:
    """E|grad F(w_T)|^2 after 4 T decaying steps over that after T."""
    T, seeds = (1_000, 200) if quick else (4_000, 400)
    rng = np.random.default_rng(seed)
    ends = [
        run(problem, method, lambda t: scale / (t + 20), steps, seeds, rng) for steps in (T, 4 * T)
    ]
    squares = [(problem.gradient(end.w) ** 2).sum(-1) for end in ends]
    first, last = (float(s.mean()) for s in squares)
    errors = [float(s.std(ddof=1)) / np.sqrt(seeds) for s in squares]
    ratio = last / first
    error = ratio * float(np.hypot(errors[0] / first, errors[1] / last))
    mean = ends[1].w.mean(0)
    loss = float(problem.value(mean)) - problem.known("minimum")
    where = ", ".join(f"{x:.4f}" for x in mean)
    note = (
        f"|grad F|^2 {first:.4f} at T = {T}, {last:.4f} at {4 * T}; mean w ({where}), "
        f"F - F* = {loss:.4f}"
    )
    numbers = {"square": last, "loss": loss, "w1": float(mean[0]), "w2": float(mean[1])}
    return Check(ratio, 0.5, error=error, n=4 * T, seeds=seeds, note=note, numbers=numbers)


@claim("ce1", "Theorem 1", "Algorithm 3 converges on CE1", FAILS)
def ce1_printed(quick: bool, seed: int) -> Check:
    """Algorithm 3, full batch, on CE1: two quadratics whose constants differ."""
    return _fall(ce1(), Method("sample", "literal", 1.0, sampling="full"), 2.0, quick, seed)


def _limit(method: Method, target: Array, quick: bool, seed: int) -> Check:
    """Distance of the mean final weights on CE1 from a point, in the worst coordinate."""
    steps, seeds = (2_000, 200) if quick else (8_000, 400)
    rng, problem = np.random.default_rng(seed), ce1()
    end = run(problem, method, lambda t: 2 / (t + 20), steps, seeds, rng)
    mean, errors = end.w.mean(0), end.w.std(0, ddof=1) / np.sqrt(seeds)
    worst = int((np.abs(mean - target) / (errors + 1e-5)).argmax())
    # Decaying steps leave a bias of the order of the last step squared.
    note = "mean w ({:.5f}, {:.5f}) +- {:.5f}".format(*mean, errors.max())
    return Check(
        float(mean[worst]),
        float(target[worst]),
        "=",
        2e-4,
        float(errors[worst]),
        n=steps,
        seeds=seeds,
        note=note,
    )


@claim("ce1-fixed-point", "CE1", "Algorithm 3 ends at (15/17, -15/17), w* = (3/5, -3/5)")
def ce1_fixed_point(quick: bool, seed: int) -> Check:
    """Algorithm 3 on CE1 ends at the zero of its mean step, (15/17, -15/17), not at w*."""
    method = Method("sample", "literal", 1.0, sampling="full")
    return _limit(method, np.array([15 / 17, -15 / 17]), quick, seed)


@claim("ce1-shared", "CE1, Theorem A", "shared lagged masks end at w*")
def ce1_shared(quick: bool, seed: int) -> Check:
    """One mask for the batch, from past steps: w* = (3/5, -3/5), at batches of one sample."""
    return _limit(Method("shared", "literal", 1.0), np.array([0.6, -0.6]), quick, seed)


@claim("ce1-unbiased", "CE1, Theorem B", "unbiased masks end at w*")
def ce1_unbiased(quick: bool, seed: int) -> Check:
    """Per-sample masks divided by their probability: w*."""
    return _limit(
        Method("sample", "literal", 1.0, unbiased=True, sampling="full"),
        np.array([0.6, -0.6]),
        quick,
        seed,
    )


@claim("ce1-same-batch", "CE1, Theorem C", "same-batch masks at B = 1 end where Algorithm 3 does")
def ce1_same_batch(quick: bool, seed: int) -> Check:
    """A mask for the batch drawn from the batch itself is Algorithm 3 at B = 1: not w*."""
    method = Method("same-batch", "literal", 1.0)
    return _limit(method, np.array([15 / 17, -15 / 17]), quick, seed)


def mean_step(problem: Problem, w: Array, gamma: float) -> Array:
    """h(w) = mean_i Pi_i g_i of Algorithm 3 as printed."""
    pi = literal(problem.scores(w), gamma)
    return np.asarray((pi * problem.gradients(w)).mean(-2))


def _zero(problem: Problem, gamma: float, w: Array) -> Array:
    """The zero of the mean step by Newton's method with central differences."""
    shifts = 1e-6 * np.eye(problem.d)
    for _ in range(100):
        h = mean_step(problem, w, gamma)
        columns = [
            mean_step(problem, w + s, gamma) - mean_step(problem, w - s, gamma) for s in shifts
        ]
        move = np.linalg.solve(np.array(columns).T / 2e-6, h)
        w = w - move * min(1.0, 0.5 / max(0.5, float(np.linalg.norm(move))))
        if np.abs(move).max() < 1e-13:
            break
    return w


@claim("bias-at-rest", "Theorem 1", "where Algorithm 3 rests, grad F = 0", FAILS)
def bias_at_zero(quick: bool, seed: int) -> Check:
    """|grad F|^2 where Algorithm 3 rests: CE1 and CE2 at s = 0, .5, .9, by Newton's method."""
    values, notes, numbers = [], [], {}
    for problem, levels in ((ce1(), (0.0, 0.5, 0.9)), (ce2(), (0.0, 0.5))):
        for s in levels:
            w = _zero(problem, 1 / (1 - s), problem.facts.minimiser)  # type: ignore[arg-type]
            values.append(float((problem.gradient(w) ** 2).sum()))
            numbers[f"{problem.name} s={s}"] = values[-1]
            notes.append(f"{problem.name} s = {s:g}: {values[-1]:.5f}")
    return Check(values[0], 0.0, tolerance=1e-9, n=2, note="; ".join(notes), numbers=numbers)


@claim("ce2", "Theorem 1", "Algorithm 3 converges on CE2", FAILS)
def ce2_printed(quick: bool, seed: int) -> Check:
    """Algorithm 3 on CE2, logistic regression after a ReLU, full batch."""
    return _fall(ce2(), Method("sample", "literal", 1.0, sampling="full"), 60.0, quick, seed)


@claim("ce4", "Theorem 1, s -> 1", "Algorithm 3 finds a stationary point", FAILS)
def ce4_printed(quick: bool, seed: int) -> Check:
    """Top-1 selection, the limit s -> 1, full batch, on CE4: the other coordinate never moves."""
    problem, rng = ce4(), np.random.default_rng(seed)
    end = run(problem, Method("sample", "top", block=1.0, sampling="full"), 0.2, 1_000, 1, rng)
    left = float((problem.gradient(end.w) ** 2).sum())
    note = f"|grad F|^2 = {left:g} after 1000 steps, w = ({end.w[0, 0]:g}, {end.w[0, 1]:g})"
    return Check(left, 0.0, tolerance=1e-6, n=1_000, note=note)


@claim("saddle", "Theorem 1", "what is found is a local minimiser", FAILS)
def saddle(quick: bool, seed: int) -> Check:
    """f = w1^2 - w2^2 + w2^4 from (1, 0), no noise: a stationary point that is no minimiser."""
    w = np.array([1.0, 0.0])
    for _ in range(1_000):
        pi = literal(np.abs(np.array([2.0, -2 + 12 * w[1] ** 2])), 1.0)
        w = w - 0.1 * pi * np.array([2 * w[0], -2 * w[1] + 4 * w[1] ** 3])
    curvature = -2 + 12 * w[1] ** 2
    note = f"ends at ({w[0]:.2g}, {w[1]:.2g}), where the smallest curvature is {curvature:g}"
    return Check(float(curvature), 0.0, ">=", n=1_000, note=note)


@claim("convex-noise", "after eq. (10)", "O(1/t) for convex f with noise", FAILS)
def convex_noise(quick: bool, seed: int) -> Check:
    """Convex F with noise: no method is O(1/t). Exponent of a lower bound, by exact enumeration.

    Samples xi = +-1, with P(xi = v) = 1/2 + delta, and loss huber(w - xi) of width 1/4: the sign v
    must be told from T coins. An output on the wrong side of 0 loses at least
    F(0) - F* >= 2 delta (1 - 1/4), and the best test errs with the chance below, at
    delta = 1 / (4 sqrt T).
    """
    horizons = np.array([16, 64, 256, 1_024, 4_096])
    losses = []
    for T in horizons:
        delta = 0.25 / np.sqrt(T)
        heads = np.arange(T + 1)
        logs = np.array([_log_choose(int(T), int(k)) for k in heads])
        plus = logs + heads * np.log(0.5 + delta) + (T - heads) * np.log(0.5 - delta)
        minus = logs + heads * np.log(0.5 - delta) + (T - heads) * np.log(0.5 + delta)
        error = 0.5 * np.minimum(np.exp(plus), np.exp(minus)).sum()
        losses.append(2 * delta * 0.75 * error)
    slope = float(np.polyfit(np.log(horizons), np.log(losses), 1)[0])
    note = f"excess of every method >= {losses[0]:.4f} at T = 16, {losses[-1]:.5f} at T = 4096"
    return Check(slope, -1.0, tolerance=0.1, n=len(horizons), note=note)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)

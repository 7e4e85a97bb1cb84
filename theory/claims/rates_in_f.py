"""Theorem D: rates of F - F*, where the paper's O(1/t) is true; and Theorem A's O(1/sqrt T)."""

import numpy as np

from theory.claim import Check, claim
from theory.claims.ratio import BATCH, SPECTRUM, largest, ratio, size
from theory.reference import bounds
from theory.reference.algorithm3 import Method, run, weighted
from theory.reference.problems import Array, Problem
from theory.reference.suite import geman_mcclure, logistic, quadratic, softmax, wavy


def _pi(problem: Problem) -> Array:
    """Fixed probabilities between .9 and .4."""
    return np.linspace(0.9, 0.4, problem.d)


def _strength(problem: Problem, pi: Array) -> float:
    """mu_Pi >= pi_min mu."""
    return float(pi.min()) * problem.known("mu")


def _noise(problem: Problem, pi: Array) -> float:
    variances = problem.facts.variances
    assert variances is not None
    return float((pi * variances).sum()) / BATCH


@claim(
    "theorem-a-rate",
    "Theorem A",
    "O(1 / sqrt T) of mean_t E|grad F|_Pi^2, convex or not",
    condition="as Theorem A, with steps of order 1 / sqrt T",
)
def theorem_a_rate(quick: bool, seed: int) -> Check:
    """Tuned constant steps: mean_t E|grad F|_Pi^2 <= 2 L D / T + 2 sqrt(2 L D S / T), 3 horizons."""
    checks = []
    for problem in (quadratic(SPECTRUM, seed), logistic(seed=seed), geman_mcclure(seed=seed)):
        pi, L, D = _pi(problem), problem.known("L"), problem.gap
        S = _noise(problem, pi)
        for steps in (64, 256, 1_024) if quick else (256, 1_024, 4_096):
            eta, rng = bounds.step_a(D, L, steps, S), np.random.default_rng(seed)
            done = run(
                problem,
                Method("shared", pi),
                eta,
                steps,
                64,
                rng,
                batch=BATCH,
                measures={"weighted": weighted},
            )
            right = bounds.theorem_a_rate(D, L, steps, S)
            name = f"{problem.name} T = {steps}"
            checks.append(ratio(name, done.means["weighted"], right, steps))
    return largest(checks)


@claim(
    "theorem-d",
    "Theorem D",
    "O(1/t) of E F - F* with constants",
    condition="shared masks from the past, PL, eta_t = 2 / (mu_Pi (t + t_0))",
)
def decaying(quick: bool, seed: int) -> Check:
    """eta_t = 2 / (mu_Pi (t + t_0)): E F - F* <= max(t_0 D, 2 L S / mu_Pi^2) / (t + t_0)."""
    steps, seeds = size(quick)
    checks = []
    problems = (quadratic(SPECTRUM, seed), logistic(seed=seed), softmax(seed=seed), wavy(seed=seed))
    for problem in problems:
        pi, L, D = _pi(problem), problem.known("L"), problem.gap
        mu, S = _strength(problem, pi), _noise(problem, pi)
        for horizon in (steps, 4 * steps):
            done = run(
                problem,
                Method("shared", pi),
                lambda t, L=L, mu=mu: bounds.decaying_step(L, mu, t),  # type: ignore[misc]
                horizon,
                seeds,
                np.random.default_rng(seed),
                batch=BATCH,
            )
            gap = problem.value(done.w) - problem.known("minimum")
            right = bounds.theorem_d(D, L, mu, S, horizon)
            checks.append(ratio(f"{problem.name} t = {horizon}", gap, right, horizon))
    return largest(checks)


@claim(
    "theorem-d-slope",
    "Theorem D",
    "O(1/t) as an exponent",
    condition="strongly convex, decaying steps",
)
def one_over_t(quick: bool, seed: int) -> Check:
    """The exponent itself: log-log slope of E F - F* between t and 16 t, quadratic, decaying steps.

    O(1/t) needs at most -1; .15 is left for the first steps' trace. Rate tests with power are in
    `theory.claims.rate_test`.
    """
    problem = quadratic(np.array([1.0, 1.5]), seed)
    pi, L = _pi(problem), problem.known("L")
    mu, seeds = _strength(problem, pi), 128 if quick else 512
    times, gaps = (256, 1_024, 4_096), []
    for time in times:
        done = run(
            problem,
            Method("shared", pi),
            lambda t: bounds.decaying_step(L, mu, t),
            time,
            seeds,
            np.random.default_rng(seed + time),
            batch=BATCH,
        )
        gaps.append(problem.value(done.w))
    means = [float(gap.mean()) for gap in gaps]
    relative = [float(gap.std(ddof=1)) / np.sqrt(seeds) / gap.mean() for gap in gaps]
    span = np.log(times[-1] / times[0])
    slope = float(np.log(means[-1] / means[0]) / span)
    error = float(np.hypot(relative[0], relative[-1]) / span)
    note = "E F - F*: " + ", ".join(f"{m:.2e} at {t}" for t, m in zip(times, means, strict=True))
    return Check(slope, -1.0, tolerance=0.15, error=error, n=times[-1], seeds=seeds, note=note)


@claim(
    "theorem-d-constant",
    "Theorem D",
    "linear convergence to a floor",
    condition="PL, constant eta <= 1 / L",
)
def constant(quick: bool, seed: int) -> Check:
    """eta = 1 / L: E F(w_T) - F* <= (1 - eta mu_Pi)^T D + L eta S / (2 mu_Pi)."""
    steps, seeds = size(quick)
    checks = []
    for problem in (quadratic(SPECTRUM, seed), logistic(seed=seed), wavy(seed=seed)):
        pi, L = _pi(problem), problem.known("L")
        mu, S, rng = _strength(problem, pi), _noise(problem, pi), np.random.default_rng(seed)
        for horizon in (10, steps):
            done = run(problem, Method("shared", pi), 1 / L, horizon, seeds, rng, batch=BATCH)
            gap = problem.value(done.w) - problem.known("minimum")
            right = bounds.theorem_d_constant(problem.gap, L, mu, 1 / L, S, horizon)
            checks.append(ratio(f"{problem.name} t = {horizon}", gap, right, horizon))
    return largest(checks)


def _radius(problem: Problem, pi: Array) -> float:
    minimiser = problem.facts.minimiser
    assert minimiser is not None
    return float(((problem.start - minimiser) ** 2 / pi).sum())


@claim(
    "theorem-d-convex",
    "Theorem D",
    "R^2 / (eta T) + eta sigma^2 / B: O(1 / sqrt T), not O(1/T)",
    condition="convex, fixed Pi, eta <= 1 / (2 L)",
)
def convex(quick: bool, seed: int) -> Check:
    """Convex F: F(mean iterate) - F* <= R^2 / (eta T) + eta sigma^2 / B, eta = 1 / (2 L) and less."""
    steps, seeds = size(quick)
    checks = []
    for problem in (quadratic(SPECTRUM, seed), logistic(seed=seed), softmax(seed=seed)):
        pi, L = _pi(problem), problem.known("L")
        R2, rng = _radius(problem, pi), np.random.default_rng(seed)
        variance = float(problem.facts.variances.sum()) / BATCH  # type: ignore[union-attr]
        for eta in (0.5 / L, min(0.5 / L, np.sqrt(R2 / (steps * variance)))):
            done = run(problem, Method("shared", pi), eta, steps, seeds, rng, batch=BATCH)
            gap = problem.value(done.mean_w) - problem.known("minimum")
            right = bounds.theorem_d_convex(R2, eta, L, steps, variance)
            checks.append(ratio(f"{problem.name} eta = {eta:.2g}", gap, right, steps))
    return largest(checks)


@claim(
    "theorem-d-noiseless",
    "Theorem D",
    "O(1/T) of the last iterate",
    condition="convex, fixed Pi, no noise, eta <= 1 / L",
)
def noiseless(quick: bool, seed: int) -> Check:
    """Full batch, convex F, eta = 1 / L: last iterate F - F* <= R^2 / (2 eta T)."""
    checks = []
    for problem in (quadratic(SPECTRUM, seed), logistic(seed=seed), softmax(seed=seed)):
        pi, L, rng = _pi(problem), problem.known("L"), np.random.default_rng(seed)
        for steps in (1, 10, 100):
            method = Method("shared", pi, sampling="full")
            done = run(problem, method, 1 / L, steps, 128 if quick else 1_024, rng)
            gap = problem.value(done.w) - problem.known("minimum")
            right = bounds.theorem_d_noiseless(_radius(problem, pi), 1 / L, L, steps)
            checks.append(ratio(f"{problem.name} T = {steps}", gap, right, steps))
    return largest(checks)


@claim(
    "lyapunov",
    "Theorem D",
    "its potential never grows in the mean",
    condition="convex, fixed Pi, no noise, eta <= 1 / L",
)
def lyapunov(quick: bool, seed: int) -> Check:
    """a_t (F - F*) + |w - w*|^2_(1/Pi) / 2 with a_t+1 = a_t + eta never grows in the mean, exactly.

    Random weights and masks enumerated; eta = 1 / L. The largest growth must be <= 0.
    """
    problem, rng, worst = logistic(d=3, seed=seed), np.random.default_rng(seed), -np.inf
    L, pi = problem.known("L"), np.array([0.9, 0.5, 0.2])
    minimum, best = problem.known("minimum"), problem.facts.minimiser
    assert best is not None
    masks = np.array(np.meshgrid(*[[0, 1]] * 3)).reshape(3, -1).T
    chances = np.where(masks == 1, pi, 1 - pi).prod(1)
    for _ in range(200 if quick else 2_000):
        w, a = best + 2 * rng.standard_normal(3), rng.random() * 20 / L
        after = w - masks * problem.gradient(w) / L

        def potential(w: Array, a: float) -> Array:
            distance = ((w - best) ** 2 / pi).sum(-1) / 2
            return np.asarray(a * (problem.value(w) - minimum) + distance)

        worst = max(worst, float(chances @ potential(after, a + 1 / L) - potential(w, a)))
    return Check(worst, 0.0, tolerance=1e-12, n=2_000, note=f"largest growth {worst:.1e}")


@claim("theorem-d-unbiased", "Theorem D", "contraction of unbiased masks, attained")
def unbiased_contraction(quick: bool, seed: int) -> Check:
    """Unbiased masks, strongly convex, no noise: E|w+ - w*|^2 <= (1 - 2 eta mu L/(mu + L)) |w - w*|^2.

    Attained at eta = 2 pi_min / (L + mu) along the coordinate of least probability.
    """
    H, pi, rng = np.array([1.0, 10.0]), np.array([0.3, 0.3]), np.random.default_rng(seed)
    eta = 2 * 0.3 / 11
    w = np.concatenate([np.eye(2), rng.standard_normal((1_000, 2))])
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    # E|w - eta Q Pi^-1 H w|^2 in closed form.
    after = (w**2 - 2 * eta * H * w**2 + eta**2 * (H * w) ** 2 / pi).sum(1)
    bound = bounds.theorem_d_unbiased(eta, 10.0, 1.0, 0.3)
    return Check(float(after.max()), bound, "=", 1e-9, n=len(w), note=f"worst {after.max():.6f}")

"""Theorem C: masks per sample, biased, as in Algorithm 3."""

import numpy as np

from theory.claim import Check, claim
from theory.claims.ratio import largest, ratio, size
from theory.reference import bounds
from theory.reference.algorithm3 import Method, Moment, run, weighted
from theory.reference.probabilities import literal
from theory.reference.problems import Array
from theory.reference.suite import ce1, geman_mcclure, logistic


def _bias(moment: Moment) -> tuple[Array, Array]:
    """pibar (S, d) and C = Cov_i(pi_ij, g_ij), full batch."""
    mean = moment.pi.mean(1)
    return mean, (moment.pi * moment.gradients).mean(1) - mean * moment.gradient


def _bias_square(moment: Moment) -> Array:
    mean, C = _bias(moment)
    return np.asarray((C**2 / mean).sum(-1))


def _mask_variance(moment: Moment) -> Array:
    """Variance of the full-batch mean of independently masked gradients."""
    pi, G = moment.pi, moment.gradients
    return np.asarray((pi * (1 - pi) * G**2).sum((-1, -2)) / G.shape[1] ** 2)


@claim(
    "theorem-c",
    "Theorem C",
    "Algorithm 3 converges up to its bias |C|_(1/pibar)",
    condition="eta <= 1 / L; the bias stays",
)
def theorem_c(quick: bool, seed: int) -> Check:
    """Algorithm 3 itself: masks per sample, biased, full batch, s = 0 and K = 1, eta = 1 / L."""
    steps, seeds = size(quick)
    checks = []
    measures = {"weighted": weighted, "bias": _bias_square, "noise": _mask_variance}
    for problem in (ce1(), logistic(seed=seed), geman_mcclure(seed=seed)):
        L = problem.known("L")
        method = Method("sample", "waterfill", 1.0, floor=0.1, sampling="full")
        rng = np.random.default_rng(seed)
        done = run(problem, method, 1 / L, steps, seeds, rng, measures=measures)
        right = bounds.theorem_c(
            problem.gap,
            L,
            1 / L,
            steps,
            float(done.means["bias"].mean()),
            float(done.maxima["noise"].max()),
        )
        checks.append(ratio(problem.name, done.means["weighted"], right, steps))
    return largest(checks)


@claim("theorem-c-tight", "Theorem C", "on CE1 the bias is attained")
def theorem_c_tight(quick: bool, seed: int) -> Check:
    """At a zero of the mean step |grad F|_pibar^2 = |C|^2_(1/pibar): on CE1, exactly."""
    problem, w = ce1(), np.array([[15 / 17, -15 / 17]])
    G = problem.gradients(w)
    pi = literal(problem.curvatures(w), 1.0)
    moment = Moment(w, G, G.mean(1), pi, 0)
    left, right = float(weighted(moment)[0]), float(_bias_square(moment)[0])
    return Check(left, right, "=", 1e-9, n=2, note=f"both sides {left:.6f} and {right:.6f}")


@claim("worst-bias", "Theorem C", "(d_j F)^2 / mean g^2 up to CV^2 / (1 + CV^2) is attained")
def worst_bias(quick: bool, seed: int) -> Check:
    """Largest (d_j F)^2 / mean_i g_ij^2 over g with zero mean step, for pi = (.8, .2)."""
    pi = np.array([[0.8], [0.2]])
    # Two samples: the mean step vanishes for g = (t, -4 t), the only direction there is.
    g = np.array([1.0, -4.0])
    attained = g.mean() ** 2 / (g**2).mean()
    bound = float(bounds.worst_bias(pi)[0])
    return Check(float(attained), bound, "=", 1e-9, n=2, note=f"attained {attained:.6f}")


@claim(
    "theorem-c-sharp",
    "Theorem C",
    "Algorithm 3 converges without bias",
    condition="theta = max CV_j^2 (rho_j - 1) < 1",
)
def theorem_c_sharp(quick: bool, seed: int) -> Check:
    """Algorithm 3 where gradients of samples agree: f_i = F + small noise, theta < 1.

    f_i = a_i F with F = |w|^2 / 2 and a_i in (.8, 1.2): mean_i g_ij^2 = rho (d_j F)^2 everywhere.
    """
    steps, seeds = size(quick)
    a = np.array([0.8, 1.2])
    rho = float((a**2).mean() / a.mean() ** 2)
    pi = np.array([[0.8, 0.2], [0.2, 0.8]])
    theta = float((pi.var(0) / pi.mean(0) ** 2).max() * (rho - 1))
    rng = np.random.default_rng(seed)
    w, eta = np.ones((seeds, 2)), 0.5
    total, most = np.zeros(seeds), 0.0
    for _ in range(steps):
        G = a[:, None] * w[:, None, :]
        total += (pi.mean(0) * w**2).sum(1) / steps
        most = max(most, float(((pi * (1 - pi) * G**2).sum((1, 2)) / 4).max()))
        w = w - eta * ((rng.random(G.shape) < pi) * G).mean(1)
    right = bounds.theorem_c_sharp(1.0, 1.0, eta, steps, most, theta)
    return largest([ratio(f"theta = {theta:.4f}, ratio", total, right, steps)])

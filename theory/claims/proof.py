"""The paper's proof of Theorem 1, line by line: eq. (1) to (10) and what is concluded from them.

Bars of norms are lost in the extracted text; (6) to (8) are judged with them. Pi_i is the diagonal
matrix of (L_ij / L_i)^(1 / (1 - s)) that the paper also calls L_i, at s = 0 as in its proof.
"""

import itertools

import numpy as np

from theory.claim import FAILS, Check, claim
from theory.reference.algorithm3 import Method, run, square
from theory.reference.probabilities import literal
from theory.reference.problems import Array
from theory.reference.suite import diagonal, logistic


def _draws(quick: bool, seed: int) -> tuple[Array, Array]:
    """Gradients g (draws, n, d) and probabilities pi of chi-square constants: n = 5, d = 8."""
    rng = np.random.default_rng(seed)
    shape = (2_000 if quick else 20_000, 5, 8)
    return rng.standard_normal(shape), literal(rng.chisquare(1, shape), 1.0)


def _share(violated: Array, what: str, seed: int) -> Check:
    share = float(violated.mean())
    error = float(np.sqrt(share * (1 - share) / len(violated)))
    note = f"violated in {share:.1%} of random {what} (n = 5, d = 8, s = 0)"
    return Check(share, 0.0, error=error, n=len(violated), seeds=1, note=note)


@claim(
    "eq1",
    "eq. (1)",
    "the sum L of the constants of all samples and coordinates bounds the curvature of f",
    FAILS,
)
def sum_of_constants(quick: bool, seed: int) -> Check:
    """f = w_1 w_2 has f_11 = f_22 = 0, so L = 0, but f((1, 1)) - f(0) - <grad f(0), u> = 1."""
    w, u = np.zeros(2), np.ones(2)
    gradient, constants = w[::-1], np.zeros(2)
    excess = np.prod(w + u) - np.prod(w) - gradient @ u
    bound = float(constants.sum() / 2 * (u @ u))
    note = f"f = w1 w2: L_1 = L_2 = 0, yet f(1,1) - f(0) - <g, u> = {excess:g}"
    return Check(float(excess), bound, n=2, note=note)


@claim(
    "eq1-convex",
    "eq. (1)",
    "the sum L of the constants bounds the curvature of a convex f",
    condition="f convex and L_ij valid along the whole step",
)
def sum_of_constants_convex(quick: bool, seed: int) -> Check:
    """u'Hu <= trace(H) |u|^2 for H >= 0: the largest ratio over random convex quadratics."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((500 if quick else 5_000, 6, 6)) * rng.random((6,)) ** 3
    H = A @ A.transpose(0, 2, 1)
    top = np.linalg.eigvalsh(H)[:, -1]
    ratio = float((top / np.trace(H, axis1=1, axis2=2)).max())
    return Check(ratio, 1.0, n=len(H), note=f"largest lambda_max / sum_j L_j {ratio:.3f}")


@claim(
    "eq1-local",
    "eq. (1)",
    "the local constants that Lemma 2 estimates bound f along the step",
    FAILS,
)
def local_constants(quick: bool, seed: int) -> Check:
    """(1) with L_ij at W, as Lemma 2 estimates it: log(1 + e^z) from z = -10 by u = 20."""
    z, u = -10.0, 20.0
    p = 1 / (1 + np.exp(-z))
    f, after = np.logaddexp(0, z), np.logaddexp(0, z + u)
    bound = float(f + p * u + p * (1 - p) * u**2 / 2)
    note = f"log(1 + e^z), z = -10 to 10: f = {after:.3f}, right-hand side {bound:.4f}"
    return Check(float(after), bound, note=note)


def _enumerate(g: Array, pi: Array, batch: int) -> tuple[Array, Array]:
    """All outcomes of sum_i g~_i / B for n samples with d coordinates, and their probabilities."""
    n, d = g.shape
    outcomes, chances = [], []
    for p in itertools.product((0, 1), repeat=n):
        chance_p = np.prod([batch / n if bit else 1 - batch / n for bit in p])
        for bits in itertools.product((0, 1), repeat=n * d):
            q = np.array(bits).reshape(n, d)
            chances.append(chance_p * np.where(q, pi, 1 - pi).prod())
            outcomes.append((np.array(p)[:, None] * q * g).sum(0) / batch)
    return np.array(outcomes), np.array(chances)


@claim("eq3-5", "eq. (3)-(5)", "the mean of the masked gradient is sum_i Pi_i g_i / n")
def expectation(quick: bool, seed: int) -> Check:
    """(3) to (5): E sum_i g~_i / B = sum_i Pi_i g_i / n, by enumerating every p and q."""
    rng = np.random.default_rng(seed)
    g, pi = rng.standard_normal((3, 2)), literal(rng.chisquare(1, (3, 2)), 1.0)
    outcomes, chances = _enumerate(g, pi, batch=2)
    gap = float(np.abs(chances @ outcomes - (pi * g).sum(0) / 3).max())
    return Check(gap, 0.0, "=", tolerance=1e-12, n=len(chances), note="all masks and batches")


@claim(
    "eq2",
    "eq. (2)",
    "a step's expected decrease, from smoothness",
    condition="L is a Lipschitz constant of grad f for all weights",
)
def smooth_step(quick: bool, seed: int) -> Check:
    """(2): E f(W + u) <= f(W) + E<g, u> + L/2 E|u|^2 by enumeration, with L of all weights."""
    problem, rng, worst = (
        logistic(n=3, d=2, seed=seed, ridge=0.0),
        np.random.default_rng(seed),
        -1.0,
    )
    L, eta = problem.known("L"), 0.5
    for _ in range(5 if quick else 50):
        w = 3 * rng.standard_normal(2)
        g, pi = problem.gradients(w), literal(problem.curvatures(w), 1.0)
        u, chances = _enumerate(g, pi, batch=2)
        after = chances @ problem.value(w - eta * u)
        slope = chances @ (u @ problem.gradient(w))
        bound = problem.value(w) - eta * slope + eta**2 * L / 2 * (chances @ (u**2).sum(-1))
        worst = max(worst, float(after - bound))
    return Check(worst, 0.0, tolerance=1e-12, n=512, note=f"largest excess {worst:.1e}")


@claim("eq6", "eq. (5)-(6)", "-<a, b> <= -|a| |b|", FAILS)
def cauchy_schwarz(quick: bool, seed: int) -> Check:
    """(5) to (6) says <a, b> >= |a| |b|, a = sum g_k, b = sum Pi_i g_i: backwards."""
    g, pi = _draws(quick, seed)
    a, b = g.sum(1), (pi * g).sum(1)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return _share((a * b).sum(1) < norms - 1e-12, "draws", seed)


@claim("eq7", "eq. (6)-(7)", "|sum Pi_i g_i| >= |sum Pi_i| |sum g_i|", FAILS)
def product_of_norms(quick: bool, seed: int) -> Check:
    """(6) to (7) says |sum Pi_i g_i| >= |sum Pi_i| |sum g_i|, the spectral norm."""
    g, pi = _draws(quick, seed)
    right = pi.sum(1).max(1) * np.linalg.norm(g.sum(1), axis=1)
    return _share(np.linalg.norm((pi * g).sum(1), axis=1) < right - 1e-12, "draws", seed)


@claim("eq8", "eq. (7)-(8)", "the factor |sum Pi_i| may be dropped", FAILS)
def dropped_factor(quick: bool, seed: int) -> Check:
    """(7) to (8) drops |sum Pi_i|, which is right only if it is at least 1."""
    _, pi = _draws(quick, seed)
    return _share(pi.sum(1).max(1) < 1, "draws", seed)


@claim("eq5-8", "eq. (5)-(8)", "the mean step descends at least as -|g_W|^2", FAILS)
def whole_chain(quick: bool, seed: int) -> Check:
    """(5) to (8): <sum g_k, sum Pi_i g_i> >= |sum g_k|^2, the only use of the masks' mean."""
    g, pi = _draws(quick, seed)
    a, b = g.sum(1), (pi * g).sum(1)
    check = _share((a * b).sum(1) < (a * a).sum(1) - 1e-12, "draws", seed)
    ascents = float(((a * b).sum(1) < 0).mean())
    note = f"{check.note}; in {ascents:.2%} the mean step ascends"
    return Check(
        check.measured, 0.0, error=check.error, n=check.n, note=note, numbers={"ascents": ascents}
    )


@claim(
    "eq5-8-repaired",
    "Theorem A",
    "the mean step descends at least as -pi_min |grad F|^2",
    condition="all samples of a batch share Pi, drawn from the past",
)
def chain_repaired(quick: bool, seed: int) -> Check:
    """What (5) to (8) can say: <a, Pi a> >= pi_min |a|^2 if all samples share Pi."""
    g, pi = _draws(quick, seed)
    a, shared = g.mean(1), pi[:, 0]
    ratio = (shared * a * a).sum(1) / (shared.min(1) * (a * a).sum(1))
    return Check(
        float(ratio.min()), 1.0, ">=", n=len(g), note="smallest <a, Pi a> / (pi_min |a|^2)"
    )


@claim(
    "eq10",
    "eq. (9)-(10)",
    "E|sum g~_i / B|^2 <= M^2 / B^2 for gradients of second moment M^2",
    FAILS,
)
def variance_scale(quick: bool, seed: int) -> Check:
    """(9) to (10) says E|sum_i g~_i / B|^2 <= M^2 / B^2; exact for B = n / 2, M^2 = max |g_i|^2.

    p_i and q_ij are independent coins, so the mean and the variance have closed forms.
    """
    rng = np.random.default_rng(seed)
    n, d = 64, 8
    g = rng.standard_normal((n, d)) + 1
    pi = literal(rng.chisquare(1, (n, d)), 1.0)
    sizes, ratios = (1, 4, 16, 64), []
    for batch in sizes:
        chance = batch / n * pi
        second = ((chance * g).sum(0) ** 2 + (chance * (1 - chance) * g**2).sum(0)).sum()
        ratios.append(float(second / (g**2).sum(1).max()))
    note = "E|sum g~|^2 / M^2 at B = 1, 4, 16, 64: " + ", ".join(f"{r:.2f}" for r in ratios)
    return Check(ratios[-1], 1.0, n=n, note=note)


@claim("step-2-over-l", "after eq. (10)", "eta = 2 / L gives O(1 / sqrt t)", FAILS)
def largest_step(quick: bool, seed: int) -> Check:
    """eta = 2 / L on f = L w^2 / 2 without noise: w changes sign for ever."""
    w, steps = 1.0, 1_000
    for _ in range(steps):
        w -= 2 / 3.0 * 3.0 * w
    note = f"f = 3 w^2 / 2: |grad f| after {steps} steps over that at the start {abs(w):.3f}"
    return Check(abs(w), steps**-0.5, n=steps, note=note)


@claim(
    "step-constant",
    "after eq. (10)",
    "eta = O(1 / L), constant, gives O(1 / sqrt t) with noise",
    FAILS,
)
def constant_step(quick: bool, seed: int) -> Check:
    """A step of order 1 / L gives no O(1 / sqrt T) with noise: plain SGD at eta = 1 / (2 L).

    O(1 / sqrt T) of mean_t |grad F|^2 means a factor of 1/2 from T to 4 T.
    """
    problem, rng = diagonal(np.array([1.0, 2.0]), seed), np.random.default_rng(seed)
    T, seeds = (250, 64) if quick else (1_000, 128)
    runs = [
        run(problem, Method("dense"), 0.25, steps, seeds, rng, measures={"square": square})
        for steps in (T, 4 * T)
    ]
    first, last = (r.means["square"] for r in runs)
    ratio = float(last.mean() / first.mean())
    relative = [np.std(x, ddof=1) / np.sqrt(seeds) / x.mean() for x in (first, last)]
    note = f"mean_t |grad F|^2: {first.mean():.4f} at T = {T}, {last.mean():.4f} at {4 * T}"
    return Check(
        ratio, 0.5, error=ratio * float(np.hypot(*relative)), n=4 * T, seeds=seeds, note=note
    )

"""The probabilities (L_j / L)^(1 / (1 - s)): their limits, their size, and the best exponent."""

import numpy as np

from theory.claim import FAILS, Check, claim
from theory.claims.ratio import SPECTRUM
from theory.reference import bounds
from theory.reference.algorithm3 import Method, run, square, weighted
from theory.reference.probabilities import floored, literal, top, waterfill
from theory.reference.suite import diagonal

GAMMAS = {0.0: 1.0, 0.25: 4 / 3, 0.5: 2.0, 0.75: 4.0, 0.9: 10.0}
"""Exponent of every s."""


@claim("literal-limit", "section 3, s -> 1", "the block of Algorithm 3 tends to the top K", FAILS)
def literal_limit(quick: bool, seed: int) -> Check:
    """Expected number of the 512 coordinates that are selected; the paper speaks of K = 5."""
    L = np.random.default_rng(seed).chisquare(1, 512)
    sizes = {s: float(literal(L, gamma).sum()) for s, gamma in GAMMAS.items()}
    note = "sum of pi: " + ", ".join(f"{size:.2g} at s = {s:g}" for s, size in sizes.items())
    numbers = {f"s={s}": size for s, size in sizes.items()}
    return Check(sizes[0.9], 5.0, ">=", n=512, note=note, numbers=numbers)


@claim(
    "literal-size",
    "Algorithm 3",
    "the expected block of Algorithm 3 is exp((1 - gamma) H_gamma) <= 1",
)
def literal_size(quick: bool, seed: int) -> Check:
    """That number is exp((1 - gamma) H_gamma(L / sum L)), H the Renyi entropy; at most 1."""
    rng, gaps, largest = np.random.default_rng(seed), [], 0.0
    for _ in range(50 if quick else 500):
        L, gamma = rng.chisquare(1, 64), 1 + 9 * rng.random()
        size = float(literal(L, gamma).sum())
        gaps.append(abs(size / bounds.literal_size(L, gamma) - 1))
        largest = max(largest, size)
    below = Check(largest, 1.0)
    note = f"relative difference {max(gaps):.1e}, largest {largest:.3f}"
    return Check(max(gaps), 0.0, "=", 1e-9, n=len(gaps), note=note, also=(below,))


@claim("waterfill-limit", "s -> 1", "water-filled probabilities tend to the top K")
def waterfill_limit(quick: bool, seed: int) -> Check:
    """s -> 1 with a block size: sum_j |pi_j - 1(top K)| <= 2 (d - K) r^gamma, r = L_(K+1) / L_(K)."""
    rng, ratios, last = np.random.default_rng(seed), [], 0.0
    for _ in range(100 if quick else 1_000):
        L, K = rng.chisquare(1, 20), int(rng.integers(1, 10))
        ranked = np.sort(L)[::-1]
        for gamma in (1.0, 2.0, 8.0, 32.0):
            distance = np.abs(waterfill(L, K, gamma) - top(L, K)).sum()
            bound = bounds.top_k_distance(20, K, float(ranked[K] / ranked[K - 1]), gamma)
            ratios.append(distance / bound if bound > 1e-12 else 0.0)
        last = max(
            last,
            float(
                np.abs(waterfill(np.arange(1.0, 21.0), K, 1e4) - top(np.arange(1.0, 21.0), K)).sum()
            ),
        )
    note = f"largest ratio to the bound {max(ratios):.3f}; at gamma = 1e4 off top-K by {last:.1e}"
    return Check(float(max(ratios)), 1.0, tolerance=1e-9, n=len(ratios), note=note)


@claim(
    "uniform-limit",
    "s -> 0",
    "s = 0 is proportional to L, gamma = 0 uniform",
    condition="no probability reaches 1",
)
def uniform_limit(quick: bool, seed: int) -> Check:
    """gamma -> 0 gives K / d; gamma = 1, the paper's s = 0, gives K L_j / sum L unsaturated."""
    rng = np.random.default_rng(seed)
    L = rng.random((200, 16)) + 0.5
    flat = float(np.abs(waterfill(L, 3.0, 1e-9) - 3 / 16).max())
    shares = 3 * L / L.sum(1, keepdims=True)
    proportional = float(np.abs(waterfill(L, 3.0, 1.0) - shares)[(shares < 1).all(1)].max())
    note = f"differences {flat:.1e} and {proportional:.1e}"
    also = (Check(proportional, 0.0, "=", 1e-12),)
    return Check(flat, 0.0, "=", 1e-7, n=200, note=note, also=also)


@claim("waterfill-sum", "block size", "sum pi = min(K, #{L > 0})")
def waterfill_sum(quick: bool, seed: int) -> Check:
    """sum pi = min(K, number of L > 0), 0 <= pi <= 1, for fractional K and any scale of L."""
    rng, worst = np.random.default_rng(seed), 0.0
    for _ in range(100 if quick else 1_000):
        L = rng.chisquare(1, 16) * (rng.random(16) < 0.7) * 10.0 ** rng.integers(-200, 200)
        K, gamma = 15.9 * rng.random() + 0.1, 4 * rng.random()
        if not (L > 0).any():
            continue
        pi = waterfill(L, K, gamma)
        worst = max(worst, abs(pi.sum() - min(K, (L > 0).sum())), float(pi.max() - 1))
    return Check(worst, 0.0, "=", 1e-9, n=1_000, note=f"largest difference {worst:.1e}")


@claim("row-factor", "Lemma 2", "per row the class factor cancels: all classes select alike")
def row_factor(quick: bool, seed: int) -> Check:
    """Normalised per row, p_c (1 - p_c) x_m^2 gives every class the same units, for all s."""
    rng = np.random.default_rng(seed)
    p, x = rng.dirichlet(np.ones(10)), rng.chisquare(1, 32)
    L = (p * (1 - p))[:, None] * x**2
    pi = waterfill(L, 5.0, 2.0)
    gap = float(np.abs(pi - pi[0]).max())
    return Check(gap, 0.0, "=", 1e-12, n=10, note=f"largest difference between classes {gap:.1e}")


@claim("best-exponent", "Theorem B", "unbiased masks have least variance at gamma = 1/2, s = -1")
def best_exponent(quick: bool, seed: int) -> Check:
    """phi(gamma) = (sum L^gamma)(sum L^(1 - gamma)) is least at gamma = 1/2, i.e. s = -1."""
    L = np.random.default_rng(seed).chisquare(1, 512)
    grid = np.linspace(-1, 3, 401)
    values = np.array([bounds.spread(L, gamma) for gamma in grid])
    best = float(grid[values.argmin()])
    return Check(best, 0.5, "=", 1e-9, n=401, note=f"least at gamma = {best:.2f} on a grid of .01")


@claim(
    "sparse-sampling", "section 3", "Lipschitz sampling with s > 0 beats uniform sampling", FAILS
)
def sparse_sampling(quick: bool, seed: int) -> Check:
    """Variance of unbiased masks over that of uniform ones, phi / (d sum L), for s >= 0.

    Constants are log-normal with sigma = 1, where it tends to exp(gamma (gamma - 1)).
    """
    L = np.exp(np.random.default_rng(seed).standard_normal(512))
    over = {g: bounds.spread(L, g) / (512 * L.sum()) for g in (0.5, 1.0, 1.5, 2.0, 4.0)}
    note = "over uniform: " + ", ".join(f"{v:.3g} at gamma = {g:g}" for g, v in over.items())
    numbers = {f"gamma={g}": value for g, value in over.items()}
    return Check(over[2.0], 1.0, n=512, note=note, numbers=numbers)


@claim("optimal-probabilities", "Theorem B", "water-filling |g| has the least variance")
def optimal_probabilities(quick: bool, seed: int) -> Check:
    """min sum_j g_j^2 / pi_j with sum pi = K, pi <= 1: water-filling of |g|, by random trials."""
    rng, best = np.random.default_rng(seed), np.inf
    g = rng.standard_normal(12)
    pi = waterfill(np.abs(g), 4.0, 1.0)
    least = float((g**2 / pi).sum())
    for _ in range(500 if quick else 5_000):
        other = waterfill(pi * np.exp(rng.standard_normal(12) * rng.random()), 4.0, 1.0)
        best = min(best, float((g**2 / other).sum()))
    return Check(least / best, 1.0, n=5_000, note=f"{least:.4f} against at least {best:.4f}")


@claim(
    "conditioning",
    "Algorithm 3",
    "biased masks raise the condition number kappa to kappa^(1 + gamma)",
)
def conditioning(quick: bool, seed: int) -> Check:
    """Biased masks pi ~ L^gamma with one step size: condition number kappa^(1 + gamma), not kappa."""
    gamma, mean = 2.0, literal(SPECTRUM, 2.0) * SPECTRUM
    measured = float(mean.max() / mean.min())
    kappa = float(SPECTRUM.max() / SPECTRUM.min())
    note = f"kappa = {kappa:g}: mean dynamics {measured:g} at s = 1/2"
    return Check(measured, kappa ** (1 + gamma), "=", 1e-9, n=4, note=note)


@claim("floor", "Theorem A", "the floor keeps sum pi = K and pi_min >= eps K / d")
def floor(quick: bool, seed: int) -> Check:
    """pi <- (1 - eps) pi + eps K / d keeps sum pi = K and min pi >= eps K / d."""
    scores = np.random.default_rng(seed).chisquare(1, (200 if quick else 2_000, 16)) ** 4
    bare = waterfill(scores, 3.0, 4.0)
    kept = floored(bare, 0.1, 3.0)
    note = f"min pi {bare.min():.1e} without, {kept.min():.4f} with eps = .1, K = 3, d = 16"
    total = Check(float(np.abs(kept.sum(-1) - 3).max()), 0.0, "=", 1e-9)
    return Check(
        float(kept.min()), 0.1 * 3 / 16, ">=", 1e-12, n=len(scores), note=note, also=(total,)
    )


def _starved(eps: float, quick: bool, seed: int) -> Check:
    """mean_t |grad F|^2 over its value at the start on a quadratic, top-1 (s = 1)."""
    problem = diagonal(SPECTRUM, seed, noise=0.1)
    steps, rng = (1_000 if quick else 4_000), np.random.default_rng(seed)
    method = Method("shared", "top", block=1.0, floor=eps)
    measures = {"square": square, "weighted": weighted}
    done = run(problem, method, 0.1, steps, 64, rng, batch=4, measures=measures)
    ratio = done.means["square"] / float((problem.gradient(problem.start) ** 2).sum())
    note = (
        f"mean |grad F|^2 over that at the start {ratio.mean():.3f}, "
        f"mean |grad F|_Pi^2 {done.means['weighted'].mean():.4f}"
    )
    error = float(ratio.std(ddof=1)) / 8
    return Check(float(ratio.mean()), 0.2, error=error, n=steps, seeds=64, note=note)


@claim("starvation", "s -> 1", "without a floor every coordinate is still served", FAILS)
def starved(quick: bool, seed: int) -> Check:
    """Without a floor a coordinate of small constant is never selected: only the Pi-norm falls."""
    return _starved(0.0, quick, seed)


@claim(
    "starvation-floor", "Theorem A", "with a floor every coordinate is served", condition="eps > 0"
)
def fed(quick: bool, seed: int) -> Check:
    """The same with eps = .2."""
    return _starved(0.2, quick, seed)

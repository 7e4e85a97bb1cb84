"""Theorems A, E, F and R: masks shared by the batch and drawn from the past."""

import numpy as np

from theory.claim import FAILS, Check, claim
from theory.claims.ratio import BATCH, SPECTRUM, largest, noise, ratio, size, suite
from theory.reference import bounds
from theory.reference.algorithm3 import Method, Moment, run, square, weighted
from theory.reference.problems import Array
from theory.reference.suite import ce4, geman_mcclure, logistic, quadratic

LAGGED = Method("shared", "waterfill", gamma=2.0, block=2.0, floor=0.1)


@claim(
    "theorem-a",
    "Theorem A",
    "mean_t E|grad F|_Pi^2 <= 2 D / (eta T) + L eta S, convex or not",
    condition="masks shared by the batch, drawn from the past; eta <= 1 / L",
)
def theorem_a(quick: bool, seed: int) -> Check:
    """Shared water-filled masks on the running mean of past constants, s = 1/2, at `step_a`."""
    steps, seeds = size(quick)
    checks = []
    for problem in suite(seed):
        L, D = problem.known("L"), problem.gap
        most = float(problem.facts.variances.sum()) / BATCH  # type: ignore[union-attr]
        eta = bounds.step_a(D, L, steps, most)
        measures = {"weighted": weighted, "noise": noise(problem, BATCH)}
        rng = np.random.default_rng(seed)
        done = run(problem, LAGGED, eta, steps, seeds, rng, batch=BATCH, measures=measures)
        right = bounds.theorem_a(D, L, eta, steps, float(done.maxima["noise"].max()))
        checks.append(ratio(problem.name, done.means["weighted"], right, steps))
    return largest(checks)


@claim("theorem-a-tight", "Theorem A", "the decrease of one step is exact: L |w|^2 / 2 attains it")
def theorem_a_tight(quick: bool, seed: int) -> Check:
    """One step on L |w|^2 / 2 attains Theorem A's decrease, -eta (1 - L eta / 2) |grad F|_Pi^2.

    Exact, by enumerating the masks; at L = |grad F|_Pi = 1 and eta = .5, 1, 1.5.
    """
    w, pi = np.array([1.0, 1.0]), np.array([0.9, 0.3])
    w = w / np.sqrt((pi * w**2).sum())
    parts = []
    for eta in (0.5, 1.0, 1.5):
        change = 0.0
        for q in ([0, 0], [0, 1], [1, 0], [1, 1]):
            chance = np.where(np.array(q) == 1, pi, 1 - pi).prod()
            after = w * (1 - eta * np.array(q))
            change += chance * ((after**2).sum() - (w**2).sum()) / 2
        parts.append(Check(float(change), -eta * (1 - eta / 2), "=", 1e-9, n=4))
    note = "E F+ - F at eta = .5, 1, 1.5: " + ", ".join(f"{part.measured:.6f}" for part in parts)
    first = parts[0]
    return Check(first.measured, first.bound, "=", 1e-9, n=4, note=note, also=tuple(parts[1:]))


@claim(
    "refinement",
    "Theorem A",
    "max_j v_j may replace L",
    condition="coordinates are selected independently",
)
def refinement(quick: bool, seed: int) -> Check:
    """Independent coordinates: E|Qh|_M^2 <= max_j v_j |h|_Pi^2, and max_j v_j is below L at times."""
    rng, ratios, gains = np.random.default_rng(seed), [], []
    for _ in range(200 if quick else 2_000):
        A = rng.standard_normal((5, 5))
        M, pi, h = A @ A.T, rng.random(5) * 0.95 + 0.05, rng.standard_normal(5)
        second = (pi * h) @ M @ (pi * h) + (pi * (1 - pi) * np.diag(M) * h**2).sum()
        v = bounds.independent_smoothness(M, pi)
        ratios.append(second / (v * (pi * h**2).sum()))
        gains.append(v / np.linalg.eigvalsh(M)[-1])
    note = f"max_j v_j / L between {min(gains):.2f} and {max(gains):.2f}"
    return Check(float(max(ratios)), 1.0, n=len(ratios), note=note)


@claim(
    "theorem-a-shrink",
    "Theorem A with shrink",
    "2 D / (eta T) + 2 L eta S + the shrink terms, what is not selected being soft-thresholded",
    condition="as Theorem A, and eta <= 1 / (4 L)",
)
def theorem_a_shrink(quick: bool, seed: int) -> Check:
    """A with shrink: soft-thresholding of what is not selected, eta = 1 / (4 L)."""
    steps, seeds = size(quick)
    checks = []
    for problem in suite(seed):
        L = problem.known("L")
        eta, amount = 1 / (4 * L), 0.002 / L
        method = Method("shared", "waterfill", gamma=2.0, block=2.0, floor=0.1, shrink=amount)

        def term(moment: Moment, L: float = L, eta: float = eta, amount: float = amount) -> Array:
            return bounds.shrink_term(L, eta, amount * (1 - moment.pi), moment.pi)

        measures = {"weighted": weighted, "noise": noise(problem, BATCH), "shrink": term}
        rng = np.random.default_rng(seed)
        done = run(problem, method, eta, steps, seeds, rng, batch=BATCH, measures=measures)
        right = bounds.theorem_a_shrink(
            problem.gap,
            L,
            eta,
            steps,
            float(done.maxima["noise"].max()),
            float(done.means["shrink"].mean()),
        )
        checks.append(ratio(problem.name, done.means["weighted"], right, steps))
    return largest(checks)


@claim(
    "theorem-e",
    "Theorem E",
    "full batch: 2 L D / T; top-K of |grad F|: 2 L D d / (K T)",
    condition="full batch, eta = 1 / L",
)
def theorem_e(quick: bool, seed: int) -> Check:
    """Full batch, shared masks: 2 L D / T; and deterministic top-K by |grad F|, factor d / K."""
    steps, seeds = size(quick)
    checks = []
    for problem in (quadratic(SPECTRUM, seed), logistic(seed=seed), geman_mcclure(seed=seed)):
        L = problem.known("L")
        method = Method("shared", "waterfill", 2.0, block=2.0, floor=0.1, sampling="full")
        rng = np.random.default_rng(seed)
        done = run(problem, method, 1 / L, steps, seeds, rng, measures={"weighted": weighted})
        right = bounds.theorem_a(problem.gap, L, 1 / L, steps, 0.0)
        checks.append(ratio(problem.name, done.means["weighted"], right, steps))
        w, least = problem.start, np.inf
        for _ in range(4):
            gradient = problem.gradient(w)
            least = min(least, float((gradient**2).sum()))
            kept = np.abs(gradient) >= np.sort(np.abs(gradient))[-2]
            w = w - kept * gradient / L
        right = bounds.theorem_e_greedy(problem.gap, L, problem.d, 2, 4)
        checks.append(ratio(f"{problem.name}, greedy", np.array([least]), right, 4))
    return largest(checks)


@claim(
    "topk-by-constants",
    "Theorem E",
    "top-K of Lipschitz constants has a rate on full batches",
    FAILS,
)
def topk_by_constants(quick: bool, seed: int) -> Check:
    """Deterministic top-K by Lipschitz constants, full batch: no guarantee, CE4 never moves."""
    problem = ce4()
    done = run(
        problem,
        Method("shared", "top", block=1.0, sampling="full"),
        0.2,
        500,
        1,
        np.random.default_rng(seed),
        measures={"square": square},
    )
    left = float((problem.gradient(done.w) ** 2).sum())
    right = bounds.theorem_e_greedy(problem.gap, 4.0, 2, 1, 500)
    return Check(left, right, n=500, note=f"CE4: |grad F|^2 = {left:g} after 500 steps")


@claim(
    "theorem-f",
    "Theorem F",
    "momentum: the bound with 1 - b",
    condition="as Theorem A, and E|u|^2 <= G^2",
)
def theorem_f(quick: bool, seed: int) -> Check:
    """Momentum .9 with shared lagged masks; G^2 the largest second moment of a step in the run."""
    steps, seeds = size(quick)
    checks = []
    for problem in suite(seed):
        L = problem.known("L")
        eta = 0.1 / L / 4
        method = Method("shared", "waterfill", 2.0, block=2.0, floor=0.1, momentum=0.9)

        def second(moment: Moment) -> Array:
            G = moment.gradients
            spread = G.var(1) / BATCH + moment.gradient**2
            return np.asarray((moment.pi * spread).sum(-1))

        rng = np.random.default_rng(seed)
        measures = {"weighted": weighted, "second": second}
        done = run(problem, method, eta, steps, seeds, rng, batch=BATCH, measures=measures)
        G2 = float(done.maxima["second"].max())
        right = bounds.theorem_f(problem.gap, L, eta, steps, 0.9, G2)
        checks.append(ratio(problem.name, done.means["weighted"], right, steps))
    return largest(checks)


@claim("theorem-r", "Theorem R", "fixed Pi: unbiased SGD on F(Pi^1/2 v), step for step")
def theorem_r(quick: bool, seed: int) -> Check:
    """Fixed Pi: the masked run on F is unbiased SGD on G(v) = F(Pi^1/2 v), step for step."""
    problem, pi = logistic(seed=seed), np.array([0.9, 0.7, 0.5, 0.3])
    rng = np.random.default_rng(seed)
    v = problem.start / np.sqrt(pi)
    w, worst = problem.start, 0.0
    for _ in range(200 if quick else 2_000):
        i, q = rng.integers(problem.n), rng.random(4) < pi
        w = w - 0.5 * q * problem.gradients(w)[i]
        # grad G = Pi^1/2 grad F; the stochastic gradient Pi^-1/2 Q g_i has it as its mean.
        v = v - 0.5 * q / np.sqrt(pi) * problem.gradients(np.sqrt(pi) * v)[i]
        worst = max(worst, float(np.abs(w - np.sqrt(pi) * v).max()))
    return Check(worst, 0.0, "=", 1e-10, n=problem.d, note=f"largest difference {worst:.1e}")


@claim(
    "dense-decay",
    "Theorem F, decay",
    "decay outside the mask converges to h w* / (h + lambda / pi), inside it to ridge",
)
def dense_decay(quick: bool, seed: int) -> Check:
    """Weight decay outside a biased mask changes the objective: w_j = h_j w*_j / (h_j + lam/pi_j)."""
    h, best, lam = np.ones(3), np.array([1.0, -1.0, 2.0]), 0.1
    pi, w = np.array([0.9, 0.2, 0.05]), np.zeros((2, 3))
    expected = np.stack([h * best / (h + lam / pi), h * best / (h + lam)])
    for _ in range(20_000):
        gradient = h * (w - best)
        w = w - 0.05 * np.stack([pi * gradient[0] + lam * w[0], pi * (gradient[1] + lam * w[1])])
    gap = float(np.abs(w - expected).max())
    note = "dense ({:.3f}, {:.3f}, {:.3f})".format(*w[0])
    note += ", masked ({:.3f}, {:.3f}, {:.3f})".format(*w[1])
    return Check(gap, 0.0, "=", 1e-9, n=3, note=note)

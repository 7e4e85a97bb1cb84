"""Routing per sample, before supports settle: how far its mean step descends, and where it fails.

u is the mean step of the routed optimizer, g = grad F the dense one. What converges is in
`theory.claims.settled`; here are Theorems C' and I, the descent formula, and the counterexamples.
"""

import numpy as np

from theory.claim import FAILS, Check, claim
from theory.claims.ratio import largest, ratio
from theory.claims.settled import softmax_head, starts
from theory.reference import bounds
from theory.reference.problems import Array
from theory.reference.routed import (
    Head,
    Moment,
    Routing,
    State,
    mean_step,
    plain,
    run,
    step,
)
from theory.reference.suite import ce3


def max_against_sum(block: int, height: float = 2.0) -> Head:
    """3 blocks of K units: a class with all on at 1, another with one block on at `height`.

    The first class is routed through a block, where a hair decides which; the other through all.
    """
    blocks = np.repeat(np.eye(3), block, axis=1)
    x = np.concatenate([1 + 1e-6 * blocks, height * blocks])
    return Head(x, np.array([1, 1, 1, 0, 0, 0]), 1)


def ce5() -> Head:
    """x_i = e_i - .6 sum_(k != i) e_k, three samples of one of two classes."""
    problem = ce3()
    return Head(problem.x, problem.y, 2)


def canary() -> Head:
    """CE2 as a head of one output: three samples that no weights fit."""
    return Head(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]]), np.array([1, 1, 0]), 1)


def _zeros(head: Head, seeds: int = 1) -> Array:
    return np.zeros((seeds, head.outputs, head.x.shape[1]))


def _bias(moment: Moment) -> Array:
    """|D_t|^2, D = grad F - h: of connections that are active and not routed."""
    h, _ = mean_step(moment.head, moment.routing, moment.state, moment.eta)
    D = moment.head.gradient(moment.state.W) - moment.head.decay * moment.state.W - h
    return np.asarray((D**2).sum((-1, -2)))


def _spread(moment: Moment) -> Array:
    """E|u - h|^2 of one sample."""
    return mean_step(moment.head, moment.routing, moment.state, moment.eta)[1]


@claim(
    "theorem-c-routed",
    "Theorem C'",
    "routed: mean |grad F|^2 <= 2 D / (eta T) + mean |grad F - h|^2 + L eta V, h the mean step",
    condition="momentum 0, no shrink, eta <= 1 / L; the bias stays",
)
def theorem_c_routed(quick: bool, seed: int) -> Check:
    """Routed for ever with the guard and without; V is the largest of a run, h over all samples."""
    steps, seeds, checks = 300 if quick else 1_000, 64, []
    measures = {"left": plain, "bias": _bias, "spread": _spread}
    for guard in (True, False):
        head, rng = softmax_head(seed), np.random.default_rng(seed)
        eta, routing = 0.5 / head.L, Routing(2, guard=guard)
        start = starts(seeds, rng)
        done = run(head, routing, eta, steps, start, rng, batch=4, measures=measures)
        least = head.value(head.minimiser(np.ones((1, *start.shape[1:]), dtype=bool)))
        D = float((head.value(start) - least).mean())
        V = float(done.maxima["spread"].max()) / 4
        right = bounds.theorem_c(D, head.L, eta, steps, float(done.means["bias"].mean()), V)
        name = f"{'guard' if guard else 'alone'}, ratio"
        checks.append(ratio(name, done.means["left"], right, steps))
    return largest(checks)


@claim("routed-rests", "Theorem C'", "routed for ever on full batches, grad F vanishes", FAILS)
def rests(quick: bool, seed: int) -> Check:
    """CE2, K = 1, 8 starts: root mean square of |grad F| over starts and the last 500 steps."""
    rng, head = np.random.default_rng(seed), canary()
    start, steps = rng.standard_normal((8, 1, 2)), 3_000 if quick else 10_000
    ends = []
    for state in (State(start), State.dense(start)):
        done = run(
            head,
            Routing(1, guard=False),
            0.5,
            steps,
            state,
            rng,
            batch=None,
            measures={"square": plain},
            window=steps - 500,
        )
        ends.append(float(np.sqrt(done.means["square"].mean())))
    note = f"|grad F| {ends[0]:.3f} after {steps} steps, SGD {ends[1]:.1e}"
    return Check(ends[0], 1e-3, n=steps, seeds=8, note=note)


def _masses(x: Array, delta: Array, R: Array) -> tuple[Array, Array, Array, Array]:
    """A, B of own and other samples' |delta| x, and the shares alpha, beta that are routed."""
    parts = np.abs(delta)[:, :, None] * x[:, None, :]
    own = (delta < 0)[:, :, None]
    A, B = np.where(own, parts, 0).mean(0), np.where(own, 0, parts).mean(0)
    routed = np.where(R, parts, 0.0)
    alpha = np.where(own, routed, 0).mean(0) / np.where(A > 0, A, 1)
    beta = np.where(own, 0, routed).mean(0) / np.where(B > 0, B, 1)
    return A, B, alpha, beta


@claim(
    "descent-formula",
    "routing, descent",
    "<u_c, g_c> = sum_m rho (A - B)^2 + kap (A^2 - B^2), rho, kap = (alpha +- beta) / 2",
    condition="inputs >= 0, and delta < 0 on own samples only",
)
def descent_formula(quick: bool, seed: int) -> Check:
    """A, B: masses of |delta| x of own and other samples; alpha, beta: their routed shares."""
    rng, worst, count = np.random.default_rng(seed), 0.0, 50 if quick else 500
    for _ in range(count):
        head = softmax_head(int(rng.integers(1 << 31)), decay=0.0)
        W = rng.standard_normal((1, head.outputs, head.x.shape[1]))
        R = Routing(2).routes(W, head.x[None])[0]
        delta = head.delta(W)[0]
        A, B, alpha, beta = _masses(head.x, delta, R)
        u = np.where(R, delta[..., None] * head.x[:, None, :], 0.0).mean(0)
        inner = (u * head.gradient(W)[0]).sum(1)
        rho, kap = (alpha + beta) / 2, (alpha - beta) / 2
        formula = (rho * (A - B) ** 2 + kap * (A**2 - B**2)).sum(1)
        worst = max(worst, float(np.abs(inner - formula).max()))
    return Check(worst, 0.0, "=", 1e-12, n=count, note=f"largest difference {worst:.1e}")


@claim(
    "descent-max-against-sum", "routing, descent", "the routed mean step of a row descends", FAILS
)
def uphill(quick: bool, seed: int) -> Check:
    """Max against sum: cosine of u and g at small equal weights, K = 1 and 5."""
    cosines = {}
    for block in (1, 5):
        head = max_against_sum(block)
        W = np.full((1, 1, 3 * block), 1e-6)
        u = mean_step(head, Routing(block, guard=False), State(W), 0.0)[0]
        g = head.gradient(W)
        cosines[block] = float((u * g).sum() / np.sqrt((u**2).sum() * (g**2).sum()))
    note = ", ".join(f"cos(u, g) = {value:.3f} at K = {K}" for K, value in cosines.items())
    return Check(min(cosines.values()), 0.0, ">=", n=6, note=note)


@claim(
    "descent-guard",
    "routing, starvation",
    "with the guard no row steps uphill",
    condition="of the true means <u, g>, not of running ones",
)
def guarded(quick: bool, seed: int) -> Check:
    """The least <step, g> over rows of random heads and max-against-sum, dense where <u, g> < 0."""
    rng, least, turned = np.random.default_rng(seed), np.inf, 0
    heads = [max_against_sum(5)] + [softmax_head(k, 0.0) for k in range(20 if quick else 200)]
    for head in heads:
        # Sharp weights of either sign make rows that point uphill.
        W = 3 * rng.standard_normal((64, head.outputs, head.x.shape[1]))
        state = State(W)
        g = head.gradient(W)
        u = mean_step(head, Routing(1, guard=False), state, 0.0)[0]
        state.gbar, state.ubar = g, u
        h = mean_step(head, Routing(1), state, 0.0)[0]
        least, turned = (
            min(least, float((h * g).sum(-1).min())),
            turned + int(((u * g).sum(-1) < 0).sum()),
        )
    note = f"least <step, g> {least:.1e}; {turned} rows pointed uphill before"
    return Check(least, 0.0, ">=", tolerance=1e-15, n=64 * len(heads), note=note)


@claim(
    "no-potential",
    "routing, potential",
    "the routed mean step is the gradient of some function",
    FAILS,
)
def no_potential(quick: bool, seed: int) -> Check:
    """One row, x = (1, 1), K = 1: Jacobian h [[1, 1], [0, 0]] by differences, neither symmetric
    nor monotone: its symmetric part has the eigenvalue h |R x| (|R x| - |x|) / 2."""
    head, W = Head(np.array([[1.0, 1.0]]), np.array([1]), 1), np.array([[[0.7, 0.3]]])
    routing, eps, columns = Routing(1, guard=False), 1e-6, []
    for m in range(2):
        shift = eps * np.eye(2)[m]
        up, down = (mean_step(head, routing, State(W + s), 0.0)[0] for s in (shift, -shift))
        columns.append((up - down)[0, 0] / (2 * eps))
    J = np.array(columns).T
    p = float(head.probabilities(W[0] @ head.x[0])[0])
    expected = p * (1 - p) * (1 - np.sqrt(2)) / 2
    lowest = float(np.linalg.eigvalsh((J + J.T) / 2)[0])
    note = f"J - J' = {J[0, 1] - J[1, 0]:.3f}; least eigenvalue {lowest:.4f}, said {expected:.4f}"
    as_said = Check(lowest, expected, "=", 1e-6, note=note)
    asymmetry = Check(float(abs(J[0, 1] - J[1, 0])), 0.0, "=", 1e-6, n=2, note=note)
    return asymmetry if as_said.outcome() == "HOLDS" else as_said


@claim(
    "starvation-zero-row", "routing, starvation", "without look-ahead a row of zeros learns", FAILS
)
def zero_row(quick: bool, seed: int) -> Check:
    """CE4 as a head: nothing is routed at W = 0, and nothing ever is."""
    head = softmax_head(seed)
    routing, rng = Routing(2, foresight=0.0, guard=False), np.random.default_rng(seed)
    end = run(head, routing, 0.3, 500, _zeros(head), rng, batch=4).state
    ahead = run(head, Routing(2, guard=False), 0.3, 500, _zeros(head), rng, batch=4).state
    learned = float(np.abs(end.W).max())
    note = (
        f"largest weight {learned:g} after 500 steps; with look-ahead {np.abs(ahead.W).max():.2f}"
    )
    return Check(learned, 0.1, ">=", n=500, note=note)


@claim(
    "starvation-absence",
    "routing, starvation",
    "an empty row without a way down is at its minimum over weights >= 0",
    condition="convex in the row, the rest fixed",
)
def told_by_absence(quick: bool, seed: int) -> Check:
    """A class told by absence: F over random rows >= 0 is never below F at 0."""
    rng, least = np.random.default_rng(seed), np.inf
    for _ in range(100 if quick else 1_000):
        x = np.maximum(0.0, rng.standard_normal((30, 6)))
        # The class is the samples without activity, so every derivative of its row is >= 0.
        y = (x.sum(1) < np.quantile(x.sum(1), 0.3)).astype(np.int64)
        head = Head(np.where(y[:, None] == 1, 0.0, x), y, 2)
        W = np.stack([rng.random((64, 6)), np.zeros((64, 6))], axis=1)
        assert (head.gradient(W)[:, 1] >= 0).all()
        there = np.stack([W[:, 0], 3 * rng.random((64, 1)) * rng.random((64, 6))], axis=1)
        least = min(least, float((head.value(there) - head.value(W)).min()))
    return Check(least, 0.0, ">=", tolerance=1e-12, n=6_400, note=f"least F - F(0) {least:.1e}")


@claim(
    "starvation-look-ahead",
    "routing, starvation",
    "look-ahead routes an empty row along its own gradient",
    condition="no sample has more than K active units with a way down",
)
def look_ahead(quick: bool, seed: int) -> Check:
    """u_cm = d_cm F on N_c = {m: d_cm F < 0}, and W' = 0 elsewhere is not routed."""
    rng, worst, count = np.random.default_rng(seed), 0.0, 50 if quick else 500
    for _ in range(count):
        x = np.maximum(0.0, rng.standard_normal((24, 8)))
        order = rng.permuted(np.tile(np.arange(8), (24, 1)), axis=1)
        head = Head(np.where(order < 3, x, 0.0), rng.integers(3, size=24), 3)
        state = State(_zeros(head))
        state.gbar = head.gradient(state.W)
        u = mean_step(head, Routing(3, guard=False), state, 0.1)[0]
        down = state.gbar < 0
        worst = max(
            worst, float(np.abs((u - state.gbar)[down]).max()), float(np.abs(u[~down]).max())
        )
    return Check(worst, 0.0, "=", 1e-12, n=count, note=f"largest difference {worst:.1e}")


def _from_zero(routing: Routing, dense: bool, quick: bool) -> float:
    """Loss on max against sum from W = 0, K = 5 of 15 units, full batch."""
    head, steps = max_against_sum(5, height=1.5), 1_000 if quick else 4_000
    state = State.dense(_zeros(head)) if dense else State(_zeros(head))
    end = run(head, routing, 0.1, steps, state, np.random.default_rng(0), batch=None).state
    return float(head.value(end.W)[0])


@claim("starvation-alone", "routing, starvation", "look-ahead alone frees every empty row", FAILS)
def look_ahead_alone(quick: bool, seed: int) -> Check:
    """Max against sum: all derivatives point down and all routed ones up; the row falls below 0."""
    loss, sgd = (
        _from_zero(Routing(5, guard=False), False, quick),
        _from_zero(Routing(5), True, quick),
    )
    note = f"loss {loss:.3f} from {np.log(2):.3f}, where SGD reaches {sgd:.3f}"
    return Check(loss, float(np.log(2)), n=6, note=note)


@claim(
    "starvation-guard",
    "routing, starvation",
    "guard and look-ahead free it: it reaches what SGD does",
)
def guard_frees(quick: bool, seed: int) -> Check:
    """The same problem with the guard, momentum 0."""
    loss, sgd = _from_zero(Routing(5), False, quick), _from_zero(Routing(5), True, quick)
    return Check(loss, sgd, "=", 0.01, n=6, note=f"loss {loss:.4f}, SGD {sgd:.4f}")


def _ce5(routing: Routing, quick: bool) -> tuple[float, float, float]:
    """Loss and accuracy on CE5 from W = 0 at eta = 2, full batch, and growth of the loss a step."""
    head, rng, steps = ce5(), np.random.default_rng(0), 600 if quick else 2_100
    start = State.dense(_zeros(head)) if routing.block == 3 else State(_zeros(head))
    state = run(head, routing, 2.0, steps, start, rng, batch=None).state
    first = float(head.value(state.W)[0])
    # 300 steps are whole periods of the cycle in which samples are routed.
    end = run(head, routing, 2.0, 300, state, rng, batch=None).state
    last = float(head.value(end.W)[0])
    return last, float(head.accuracy(end.W)[0]), (last - first) / 300


@claim("ce5", "CE5", "routed without the guard, the loss does not grow on separable data", FAILS)
def ce5_diverges(quick: bool, seed: int) -> Check:
    """K = 1 of 3 signed inputs, one label: SGD solves it."""
    loss, accuracy, _ = _ce5(Routing(1, guard=False), quick)
    sgd, _, _ = _ce5(Routing(3), quick)
    note = f"loss {loss:.0f}, accuracy {accuracy:.0%}; SGD {sgd:.4f}"
    return Check(loss, float(np.log(2)), n=2_400, note=note)


@claim("ce5-growth", "CE5", "it grows by (2/3)(.4)(.2 eta) a step: .10667 at eta = 2")
def ce5_growth(quick: bool, seed: int) -> Check:
    """Sample 0 is routed through unit 1, samples 1 and 2 through unit 0."""
    growth = _ce5(Routing(1, guard=False), quick)[2]
    return Check(growth, 0.32 / 3, "=", 1e-3, n=300, note=f"measured {growth:.5f}")


@claim("ce5-guard", "CE5", "with the guard CE5 is solved (loss below .1)")
def ce5_guarded(quick: bool, seed: int) -> Check:
    """The rows that point uphill step densely."""
    loss, accuracy, _ = _ce5(Routing(1), quick)
    return Check(loss, 0.1, n=2_400, note=f"loss {loss:.4f}, accuracy {accuracy:.0%}")


@claim(
    "theorem-i",
    "Theorem I",
    "before T_0: F(w_T) <= F(w_0) + L sum eta^2 |u|^2 + what the shrink moves",
    condition="the mean step never points uphill: what the guard is for; momentum 0",
)
def theorem_i(quick: bool, seed: int) -> Check:
    """Guard and shrink, eta = 1 / (L sqrt T); <h, grad F> is measured and has to be >= 0."""
    head, rng, seeds = softmax_head(seed), np.random.default_rng(seed), 64
    T = 256 if quick else 1_024
    eta, routing = 1 / (head.L * np.sqrt(T)), Routing(2, shrink=10.0)
    state = State(starts(seeds, rng))
    F0, inner = head.value(state.W), np.zeros((T, seeds))
    moved, slope, shrunk = np.zeros(T), np.zeros(T), np.zeros((T, state.W[0].size))
    for time in range(T):
        g = head.gradient(state.W)
        h, spread = mean_step(head, routing, state, eta)
        h = h + head.decay * state.W
        inner[time] = (h * g).sum((-1, -2))
        moved[time] = eta**2 * float(((h**2).sum((-1, -2)) + spread / 4).mean())
        slope[time] = float(np.abs(g).max((-1, -2)).mean())
        amount = routing.shrink * (time + 1) / (T * T * np.sqrt(head.x.shape[1]))
        shrunk[time] = amount
        index = rng.integers(len(head.x), size=(seeds, 4))
        step(head, routing, state, eta, index, amount)
    right = bounds.theorem_i(float(F0.mean()), head.L, moved, slope, shrunk)
    premise = float(inner.mean(1).min())
    note = f"<h, grad F> at least {premise:.3f} in the mean over seeds; F(w_T) over the bound"
    check = ratio(note, head.value(state.W), right, T)
    return largest([check, Check(-premise, 0.0, note="premise, negated,")])

"""Theorem H: once every row keeps its own K connections, the run is SGD on that sub-network.

Rows route until step T_0 and are then closed on a support S. Bounds are Theorem A's and F's with
Pi = 1 on S, D measured after the cut; what is bounded is |grad_S F|, and nothing outside S.
"""

import numpy as np
import torch

from theory.claim import FAILS, Check, claim
from theory.claims.ratio import largest, ratio
from theory.reference import bounds
from theory.reference.problems import Array
from theory.reference.routed import (
    Head,
    Measure,
    Moment,
    Rate,
    Routing,
    Run,
    State,
    noise,
    on_support,
    plain,
    run,
    step,
)

K = 2
SIZES = (40, 6, 3)
"""Samples, connections and classes of the softmax regression."""


def softmax_head(seed: int, decay: float = 0.05) -> Head:
    """Inputs >= 0 as after a ReLU, labels drawn from a linear model."""
    n, M, O = SIZES
    rng = np.random.default_rng(seed)
    x = np.maximum(0.0, 0.4 + rng.standard_normal((n, M)))
    z = 2 * x @ rng.standard_normal((M, O)) + rng.gumbel(size=(n, O))
    return Head(x, z.argmax(1), O, decay)


def starts(seeds: int, rng: np.random.Generator) -> Array:
    """Random weights, (s, O, M)."""
    return 0.3 * rng.standard_normal((seeds, SIZES[2], SIZES[1]))


def _settled(head: Head, routing: Routing, seeds: int, rng: np.random.Generator) -> State:
    """A state that has routed for 100 steps, and settled."""
    state = run(head, routing, 0.3, 100, starts(seeds, rng), rng, batch=4).state
    state.settle(K)
    return state


@claim("settled-identity", "Theorem H", "settled steps are torch.optim.SGD's on the sub-network")
def identity(quick: bool, seed: int) -> Check:
    """Momentum .9 with its buffer, decay, batches of 4; weights against those of the S-model."""
    worst, steps = 0.0, 100 if quick else 400
    for draw in range(3):
        rng = np.random.default_rng((seed, draw))
        head, routing = softmax_head(draw), Routing(K, momentum=0.9)
        state = _settled(head, routing, 1, rng)
        S = torch.from_numpy(state.support[0])
        x, y = torch.from_numpy(head.x), torch.from_numpy(head.y)
        weights = torch.from_numpy(state.W[0])[S].requires_grad_()
        sgd = torch.optim.SGD([weights], lr=0.3, momentum=0.9, weight_decay=head.decay)
        sgd.state[weights]["momentum_buffer"] = torch.from_numpy(state.buffer[0])[S]
        for _ in range(steps):
            index = rng.integers(len(head.x), size=(1, 4))
            step(head, routing, state, 0.3, index)
            inside = torch.zeros(S.shape, dtype=torch.float64).masked_scatter(S, weights)
            sgd.zero_grad()
            torch.nn.functional.cross_entropy(x[index[0]] @ inside.T, y[index[0]]).backward()
            sgd.step()
        packed = torch.from_numpy(state.W[0])
        gaps = (packed[S] - weights.detach()).abs().max(), packed[~S].abs().max()
        worst = max(worst, *(float(gap) for gap in gaps))
    return Check(worst, 0.0, "=", 1e-12, n=steps, note=f"largest difference {worst:.1e}")


def _routed_and_inside(W: Array, x: Array, delta: Array, kept: int) -> tuple[Array, Array]:
    """u of rows routed per sample, and S * g with S what is not 0, (O, M)."""
    R = Routing(kept).routes(W[None], x[None])[0]
    u = np.where(R, delta[..., None] * x[:, None, :], 0.0).mean(0)
    return u, np.where(W != 0, delta.T @ x / len(x), 0.0)


@claim(
    "settled-without-closing",
    "Proposition 1",
    "rows of at most K weights, routed per sample, step as SGD on their support",
    condition="W x >= 0 on the support: weights and inputs >= 0",
)
def nonnegative_end_state(quick: bool, seed: int) -> Check:
    """u = S * g for random heads of K positive weights a row, whatever the batch."""
    rng, worst, count = np.random.default_rng(seed), 0.0, 50 if quick else 200
    for _ in range(count):
        x, delta = np.maximum(0.0, rng.standard_normal((20, 12))), rng.standard_normal((20, 4))
        order = rng.permuted(np.tile(np.arange(12), (4, 1)), axis=1)
        W = np.where(order < 5, rng.random((4, 12)), 0.0)
        u, inside = _routed_and_inside(W, x, delta, 5)
        worst = max(worst, float(np.abs(u - inside).max()))
    return Check(worst, 0.0, "=", 1e-12, n=count, note=f"largest difference {worst:.1e}")


@claim(
    "settled-needs-closing",
    "Proposition 1",
    "rows of at most K weights, routed per sample, step as SGD on their support",
    FAILS,
)
def negative_weight(quick: bool, seed: int) -> Check:
    """W = (1, -1, 0, 0), K = 5: the negative weight is never routed, so rows must be closed."""
    x, delta = np.array([[0.6, 0.3, 0.2, 0.1], [0.4, 0.2, 0.0, 0.5]]), np.array([[0.3], [0.2]])
    u, inside = _routed_and_inside(np.array([[1.0, -1.0, 0.0, 0.0]]), x, delta, 5)
    gap = float(np.abs(u - inside).max())
    note = "u = ({:.3f}, {:.3f}), ".format(*u[0, :2]) + "S g = ({:.3f}, {:.3f})".format(*inside[0])
    return Check(gap, 0.0, "=", 1e-12, n=2, note=note)


def _measured(
    quick: bool,
    seed: int,
    eta: Rate,
    *,
    momentum: float = 0.0,
    by_eta: bool = False,
    measures: dict[str, Measure] | None = None,
) -> tuple[Head, Run, int]:
    """64 runs that settle at T_0, measured over the N steps after it."""
    T0, N = (100, 300) if quick else (200, 1_000)
    rng, head = np.random.default_rng(seed), softmax_head(seed)
    routing = Routing(K, momentum=momentum, shrink=3.0, settle=T0)
    found = run(
        head,
        routing,
        eta,
        T0 + N,
        starts(64, rng),
        rng,
        batch=4,
        horizon=T0,
        measures={"left": on_support, "noise": noise} | (measures or {}),
        window=T0,
        by_eta=by_eta,
    )
    return head, found, N


def excess(head: Head, found: Run, momentum: float = 0.0, eta: float = 0.0) -> Array:
    """G(z) - min G on each run's support, z = w - eta b / (1 - b) m after the cut, (s,)."""
    W, buffer = found.cut
    least = head.value(head.minimiser(found.state.support))
    return np.asarray(head.value(W - eta * momentum / (1 - momentum) * buffer) - least)


@claim(
    "theorem-h",
    "Theorem H",
    "from T_0 on: mean |grad_S F|^2 <= 2 D / (eta N) + L eta sum_(j in S) sigma_j^2 / B",
    condition="rows closed at T_0, momentum 0, eta <= 1 / L, D after the cut",
)
def theorem_h(quick: bool, seed: int) -> Check:
    """Constant steps, eta = .3 / L and .9 / L; D and variances are those of the runs."""
    checks = []
    for scale in (0.3, 0.9):
        eta = scale / softmax_head(seed).L
        head, found, N = _measured(quick, seed, eta)
        S = float(found.means["noise"].mean()) / 4
        right = bounds.theorem_a(float(excess(head, found).mean()), head.L, eta, N, S)
        checks.append(ratio(f"eta = {scale:g} / L", found.means["left"], right, N))
    return largest(checks)


@claim(
    "theorem-h-schedule",
    "Theorem H",
    "the same for means weighted by eta_t, under a schedule such as cosine",
    condition="as Theorem H, eta_t <= 1 / L fixed in advance",
)
def theorem_h_schedule(quick: bool, seed: int) -> Check:
    """Cosine over the whole run, from .9 / L to 0."""
    T0, N = (100, 300) if quick else (200, 1_000)
    top = 0.9 / softmax_head(seed).L
    etas = top * (1 + np.cos(np.pi * np.arange(T0 + N) / (T0 + N))) / 2
    head, found, N = _measured(quick, seed, lambda t: float(etas[t]), by_eta=True)
    D, S = float(excess(head, found).mean()), float(found.maxima["noise"].max()) / 4
    right = bounds.theorem_a_schedule(D, head.L, etas[T0:], S)
    return ratio("cosine", found.means["left"], right, N)


def _second_moment(moment: Moment) -> Array:
    """E|u|^2 = |grad_S F|^2 + the variance of a batch of 4, decay included."""
    return np.asarray(on_support(moment) + noise(moment) / 4)


@claim(
    "theorem-h-momentum",
    "Theorem H",
    "with momentum: Theorem F on the support, D at w - eta b / (1 - b) m",
    condition="rows closed at T_0, eta constant, E|u|^2 <= G^2 and |m| <= G / (1 - b)",
)
def theorem_h_momentum(quick: bool, seed: int) -> Check:
    """Momentum .9 whose buffer is kept over the cut; G^2 is the largest second moment of a run."""
    eta = 0.03 / softmax_head(seed).L
    head, found, N = _measured(quick, seed, eta, momentum=0.9, measures={"u": _second_moment})
    D = float(excess(head, found, 0.9, eta).mean())
    # The buffer at T_0 has to be as small as if it had been collected after it.
    buffer = float((found.cut[1] ** 2).sum((-1, -2)).mean()) * (1 - 0.9) ** 2
    right = bounds.theorem_f(D, head.L, eta, N, 0.9, max(float(found.maxima["u"].max()), buffer))
    return ratio("momentum .9", found.means["left"], right, N)


@claim(
    "theorem-h-emptied",
    "Theorem H",
    "it bounds the derivatives in emptied connections, too",
    FAILS,
)
def emptied(quick: bool, seed: int) -> Check:
    """Full batch, settled: |grad_S F|^2 vanishes, |grad F|^2 does not."""
    rng, head = np.random.default_rng(seed), softmax_head(seed)
    state = _settled(head, Routing(K), 16, rng)
    steps = 1_000 if quick else 4_000
    end = run(head, Routing(K), 0.9 / head.L, steps, state, rng, batch=None).state
    moment = Moment(head, Routing(K), end, 0.0, steps)
    inside, whole = float(on_support(moment).max()), float(plain(moment).mean())
    note = f"after {steps} steps |grad_S F|^2 <= {inside:.1e}, |grad F|^2 = {whole:.2g} in the mean"
    return Check(whole, 1e-6, n=steps, seeds=16, note=note)


def _cuts(quick: bool, seed: int, scale: float) -> tuple[Array, Array, Array]:
    """Jumps of the loss by random cuts, their second-order bound, and the global one."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(200 if quick else 2_000):
        head = softmax_head(int(rng.integers(1 << 31)), decay=0.0)
        W = scale * rng.standard_normal((1, *SIZES[:0:-1]))
        cut = (rng.random(W.shape) < 0.5).astype(float)
        p = head.probabilities(head.x @ W[0].T)
        jump = head.value(W * (1 - cut)) - head.value(W)
        second = bounds.cut_jump(W[0], head.gradient(W)[0], head.x, p * (1 - p), cut[0])
        moved = -head.x @ (cut * W)[0].T
        everywhere = (head.delta(W)[0] * moved).sum(1).mean() + (moved**2).sum(1).mean() / 4
        rows.append((float(jump[0]), second, float(everywhere)))
    jumps, local, whole = np.array(rows).T
    return jumps, local, whole


@claim(
    "cut-jump",
    "cut",
    "F jumps by at most -sum W dF + sum_c |C_c| sum of the gate constants that are cut",
    condition="to second order: weights that are cut are small",
)
def cut_jump(quick: bool, seed: int) -> Check:
    """Exact jumps over the bound's second-order terms, weights of .1; at 1 the bound may fail."""
    jumps, local, _ = _cuts(quick, seed, 0.1)
    larger, bound, _ = _cuts(quick, seed, 1.0)
    excess = float((jumps - local).max())
    broken = float((larger > bound).mean())
    note = f"largest excess {excess:.1e} of jumps up to {jumps.max():.2g}; weights of order 1: "
    note += f"above it in {broken:.1%} of cuts"
    return Check(excess, 0.0, n=len(jumps), note=note, numbers={"broken at 1": broken})


@claim("cut-jump-global", "cut", "F jumps by at most mean <delta, dz> + mean |dz|^2 / 4")
def cut_jump_global(quick: bool, seed: int) -> Check:
    """Whatever the weights: the Hessian of log sum exp is at most 1/2."""
    jumps, _, whole = _cuts(quick, seed, 3.0)
    excess = float((jumps - whole).max())
    return Check(excess, 0.0, tolerance=1e-12, n=len(jumps), note=f"largest excess {excess:.2g}")


@claim(
    "theorem-a-supports",
    "Theorem A",
    "S may change: 2 (D + sum of jumps) / (eta T) + L eta S",
    condition="supports chosen from the past; opening at W = 0 costs nothing",
)
def changing_supports(quick: bool, seed: int) -> Check:
    """Every 50 steps a row swaps its smallest weight for the connection of steepest descent."""
    rng, head, seeds = np.random.default_rng(seed), softmax_head(seed), 64
    eta, T = 0.5 / head.L, 400 if quick else 2_000
    state = _settled(head, Routing(K), seeds, rng)
    D = head.value(state.W)
    left, spread, jumps = np.zeros(seeds), np.zeros(seeds), np.zeros(seeds)
    for time in range(T):
        if time % 50 == 49:
            before = head.value(state.W)
            inside = np.where(state.support, np.abs(state.W), np.inf)
            smallest = inside.argmin(-1)[..., None]
            steepest = np.where(state.support, 0.0, np.abs(head.gradient(state.W)))
            np.put_along_axis(state.support, smallest, False, axis=-1)
            np.put_along_axis(state.support, steepest.argmax(-1)[..., None], True, axis=-1)
            state.W = np.where(state.support, state.W, 0.0)
            jumps += head.value(state.W) - before
        moment = Moment(head, Routing(K), state, eta, time)
        left, spread = left + on_support(moment) / T, spread + noise(moment) / T
        step(head, Routing(K), state, eta, rng.integers(len(head.x), size=(seeds, 4)))
    least = head.value(head.minimiser(np.ones_like(state.support)))
    whole = float((D + jumps - least).mean())
    right = bounds.theorem_a(whole, head.L, eta, T, float(spread.mean()) / 4)
    check = ratio(f"{T // 50} changes", left, right, T)
    return largest([check], f"jumps of {jumps.mean():.3f} in sum, ")

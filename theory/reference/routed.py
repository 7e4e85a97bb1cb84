"""The routed optimizer on a last layer, all seeds at once, in NumPy and float64.

Written from the algorithm of docs/theory.md, sharing no code with the library: each sample teaches
a class through its K most responsible connections, until supports settle and SGD goes on inside.

Index legend: `s` seed, `n` sample, `b` place in a batch, `c` output unit, `m` connection.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from theory.reference.probabilities import waterfill
from theory.reference.problems import Array

Mask = NDArray[np.bool_]
Rate = float | Callable[[int], float]


@dataclass(frozen=True)
class Head:
    """Cross-entropy of W x: softmax of several outputs, sigmoid of one, with decay |W|^2 / 2.

    Args:
        x: inputs, (n, M).
        y: class of each sample, (n,); 0 or 1 for one output.
        outputs: O.
        decay: >= 0, part of F, and the optimizer's weight decay.
    """

    x: Array
    y: NDArray[np.int64]
    outputs: int
    decay: float = 0.0

    @property
    def L(self) -> float:
        """Lipschitz constant of grad F."""
        top = float(np.linalg.eigvalsh(self.x.T @ self.x / len(self.x))[-1])
        return top / (4 if self.outputs == 1 else 2) + self.decay

    def targets(self) -> Array:
        """(n, O)."""
        return self.y[:, None].astype(float) if self.outputs == 1 else np.eye(self.outputs)[self.y]

    def probabilities(self, z: Array) -> Array:
        """p_c of logits (..., O)."""
        if self.outputs == 1:
            return np.asarray(0.5 * (1 + np.tanh(z / 2)))
        powers = np.exp(z - z.max(-1, keepdims=True))
        return np.asarray(powers / powers.sum(-1, keepdims=True))

    def delta(self, W: Array, index: NDArray[np.int64] | None = None) -> Array:
        """Gradients of the losses in the outputs, (s, n, O), or (s, b, O) of a batch (s, b)."""
        x, t = (of if index is None else of[index] for of in (self.x, self.targets()))
        return self.probabilities(x @ W.swapaxes(-1, -2)) - t

    def value(self, W: Array) -> Array:
        """F, (s,)."""
        z = self.x @ W.swapaxes(-1, -2)
        if self.outputs == 1:
            losses = np.logaddexp(0, (1 - 2 * self.y) * z[..., 0])
        else:
            losses = np.logaddexp.reduce(z, axis=-1) - (z * self.targets()).sum(-1)
        return np.asarray(losses.mean(-1) + self.decay * (W**2).sum((-1, -2)) / 2)

    def gradient(self, W: Array) -> Array:
        """grad F, (s, O, M)."""
        return self.delta(W).swapaxes(-1, -2) @ self.x / len(self.x) + self.decay * W

    def variance(self, W: Array) -> Array:
        """Of one sample's gradient, by coordinate, (s, O, M)."""
        delta = self.delta(W).swapaxes(-1, -2)
        mean = delta @ self.x / len(self.x)
        return np.asarray(delta**2 @ self.x**2 / len(self.x) - mean**2)

    def hessian(self, W: Array) -> Array:
        """Of F, (s, O M, O M)."""
        p = self.probabilities(self.x @ W.swapaxes(-1, -2))
        inner = p[..., None] * (np.eye(self.outputs) - p[..., None, :])
        H = np.einsum("sncd,nm,nk->scmdk", inner, self.x, self.x) / len(self.x)
        d = self.outputs * self.x.shape[1]
        return np.asarray(H.reshape(-1, d, d) + self.decay * np.eye(d))

    def accuracy(self, W: Array) -> Array:
        """(s,); a tie is an error."""
        z = self.x @ W.swapaxes(-1, -2)
        if self.outputs == 1:
            return np.asarray((z[..., 0] * (2 * self.y - 1) > 0).mean(-1))
        own = np.take_along_axis(z, np.broadcast_to(self.y[:, None], (*z.shape[:-1], 1)), -1)
        others = np.where(self.targets() > 0, -np.inf, z)
        return np.asarray((own[..., 0] > others.max(-1)).mean(-1))

    def minimiser(self, support: Mask) -> Array:
        """argmin of F over weights inside supports (s, O, M), by damped Newton; decay > 0."""
        W = np.zeros(support.shape)
        inside = support.reshape(len(support), -1)
        for _ in range(100):
            g = np.where(inside, self.gradient(W).reshape(inside.shape), 0.0)
            if np.abs(g).max() < 1e-13:
                break
            H = np.where(inside[:, :, None] & inside[:, None, :], self.hessian(W), 0.0)
            H += np.eye(H.shape[-1]) * ~inside[:, None, :]
            step = np.linalg.solve(H, g[..., None]).reshape(W.shape)
            scale = np.ones(len(W))
            while (
                worse := self.value(W - scale[:, None, None] * step) > self.value(W) + 1e-15
            ).any():
                scale[worse] /= 2
                if scale.min() < 1e-9:
                    break
            W = W - scale[:, None, None] * step
        return W


@dataclass(frozen=True)
class Routing:
    """How rows are routed.

    Attributes:
        block: K.
        foresight: tau of W' = W - tau eta gbar.
        memory: beta of the running means.
        momentum: b of m = b m + u.
        shrink: of the ramp that empties; 0 for none.
        guard: whether a row whose past mean step points uphill, or is dead, steps densely.
        magnitude: rank |W' x|.
        settle: T_0, after so many steps; None for never.
    """

    block: int
    foresight: float = 10.0
    memory: float = 0.9
    momentum: float = 0.0
    shrink: float = 0.0
    guard: bool = True
    magnitude: bool = False
    settle: int | None = None

    def routes(self, ahead: Array, x: Array) -> Mask:
        """R_nc, (s, b, O, M): the K largest products > 0 of W' (s, O, M) and x (s, b, M)."""
        P = ahead[:, None] * x[..., None, :]
        P = np.abs(P) if self.magnitude else P
        # A stable sort gives ties to the lowest index.
        order = np.argsort(-P, axis=-1, kind="stable")[..., : self.block]
        R = np.zeros(P.shape, dtype=bool)
        np.put_along_axis(R, order, True, axis=-1)
        return R & (P > 0)


@dataclass
class State:
    """Of all seeds, (s, O, M) each.

    Attributes:
        W, buffer: weights and momentum.
        gbar, ubar, share: running means of the dense gradient, the routed one, the gate constants.
        support: connections that may be other than 0.
        settled: whether every row is closed.
    """

    W: Array
    buffer: Array = field(init=False)
    gbar: Array = field(init=False)
    ubar: Array = field(init=False)
    share: Array = field(init=False)
    support: Mask = field(init=False)
    settled: bool = False

    def __post_init__(self) -> None:
        self.buffer, self.gbar, self.ubar, self.share = (np.zeros_like(self.W) for _ in range(4))
        self.support = np.ones(self.W.shape, dtype=bool)

    @classmethod
    def dense(cls, W: Array) -> "State":
        """Closed on all connections: plain SGD from here on."""
        state = cls(np.array(W, dtype=float))
        state.settled = True
        return state

    def settle(self, block: int) -> None:
        """Close every row on its K largest shares; on the steepest ways down if it has none."""
        able = (self.share > 0) & (self.W != 0)
        down = ~able.any(-1, keepdims=True) & (self.gbar < 0)
        key = np.where(able, self.share, np.where(down, -self.gbar, -np.inf))
        order = np.lexsort((-np.abs(self.W), -key), axis=-1)[..., :block]
        self.support = np.zeros(self.W.shape, dtype=bool)
        np.put_along_axis(self.support, order, True, axis=-1)
        self.support &= able | down
        self.W = np.where(self.support & able, self.W, 0.0)
        self.buffer = np.where(self.support, self.buffer, 0.0)
        self.settled = True


def mean_step(head: Head, routing: Routing, state: State, eta: float) -> tuple[Array, Array]:
    """h = E[u | past] without the decay, (s, O, M), and sum of the variances of u, (s,)."""
    ahead = state.W - routing.foresight * eta * state.gbar
    R = routing.routes(ahead, np.broadcast_to(head.x, (len(state.W), *head.x.shape)))
    delta = head.delta(state.W)
    dense = _guarded(routing, state)
    g = np.where(R | dense[:, None, :, None], delta[..., None] * head.x[:, None, :], 0.0)
    return g.mean(1), np.asarray(g.var(1).sum((-1, -2)))


def _guarded(routing: Routing, state: State) -> Mask:
    """Rows that step densely, (s, O)."""
    if state.settled:
        return np.ones(state.W.shape[:2], dtype=bool)
    if not routing.guard:
        return np.zeros(state.W.shape[:2], dtype=bool)
    uphill = (state.ubar * state.gbar).sum(-1) < 0
    return np.asarray(uphill | (~state.ubar.any(-1) & (state.gbar < 0).any(-1)))


def step(
    head: Head,
    routing: Routing,
    state: State,
    eta: float,
    index: NDArray[np.int64] | None,
    amount: float = 0.0,
) -> None:
    """One step on a batch (s, b), or on all samples; `amount` is the shrink's."""
    x = np.broadcast_to(head.x, (len(state.W), *head.x.shape)) if index is None else head.x[index]
    delta = head.delta(state.W, index)
    size = x.shape[1]
    g = delta.swapaxes(-1, -2) @ x / size
    d = np.where(state.support, g, 0.0)
    if not state.settled:
        ahead = state.W - routing.foresight * eta * state.gbar
        R = routing.routes(ahead, x)
        kept = np.where(R, delta[..., None] * x[:, :, None, :], 0.0)
        u, s = kept.mean(1), ahead**2 * (kept**2).mean(1)
        d = np.where(_guarded(routing, state)[..., None], g, u)
        b = routing.memory
        state.gbar, state.ubar = b * state.gbar + (1 - b) * g, b * state.ubar + (1 - b) * u
        scale = s.mean((-1, -2), keepdims=True)
        new = b * state.share + (1 - b) * s / np.where(scale > 0, scale, 1.0)
        state.share = np.where(scale > 0, new, state.share)
    state.buffer = routing.momentum * state.buffer + d + head.decay * state.W
    state.W = state.W - eta * state.buffer
    if amount and not state.settled:
        shrunk = amount * (1 - waterfill(state.share, routing.block, 1.0))
        state.W = np.sign(state.W) * np.maximum(0.0, np.abs(state.W) - shrunk)


class Moment(NamedTuple):
    """What a measure sees of a step, before the weights move."""

    head: Head
    routing: Routing
    state: State
    eta: float
    time: int


Measure = Callable[[Moment], Array]


def on_support(moment: Moment) -> Array:
    """|grad_S F|^2 with S the support in force."""
    gradient = np.where(moment.state.support, moment.head.gradient(moment.state.W), 0.0)
    return np.asarray((gradient**2).sum((-1, -2)))


def plain(moment: Moment) -> Array:
    """|grad F|^2, emptied connections included."""
    return np.asarray((moment.head.gradient(moment.state.W) ** 2).sum((-1, -2)))


def noise(moment: Moment) -> Array:
    """sum_(j in S) sigma_j^2 of one sample."""
    variance = moment.head.variance(moment.state.W)
    return np.asarray(np.where(moment.state.support, variance, 0.0).sum((-1, -2)))


class Run(NamedTuple):
    """The state after T steps, weights and momentum right after T_0, and of every measure its mean
    and its maximum over the steps of the window, (s,); means are weighted equally or by eta_t."""

    state: State
    cut: tuple[Array, Array]
    means: dict[str, Array]
    maxima: dict[str, Array]


def run(
    head: Head,
    routing: Routing,
    eta: Rate,
    steps: int,
    start: Array | State,
    rng: np.random.Generator,
    *,
    batch: int | None = 1,
    horizon: int | None = None,
    measures: Mapping[str, Measure] | None = None,
    window: int = 0,
    by_eta: bool = False,
) -> Run:
    """Train from weights (s, O, M), or go on from a state.

    Args:
        eta: learning rate, or a function of the step's number from 0.
        batch: B, drawn with replacement; None for all samples.
        horizon: H of the shrink's ramp.
        measures: what to average from step `window` on; weighted by eta_t if `by_eta`.
    """
    state = start if isinstance(start, State) else State(np.array(start, dtype=float))
    measures = measures or {}
    means = {name: np.zeros(len(state.W)) for name in measures}
    maxima = {name: np.full(len(state.W), -np.inf) for name in measures}
    total, cut = 0.0, (state.W.copy(), state.buffer.copy())
    for time in range(steps):
        if time == routing.settle and not state.settled:
            state.settle(routing.block)
            cut = state.W.copy(), state.buffer.copy()
        rate = eta(time) if callable(eta) else eta
        if time >= window and measures:
            weight = rate if by_eta else 1.0
            total += weight
            moment = Moment(head, routing, state, rate, time)
            for name, measure in measures.items():
                value = measure(moment)
                means[name] += weight * value
                maxima[name] = np.maximum(maxima[name], value)
        index = rng.integers(len(head.x), size=(len(state.W), batch)) if batch else None
        ramp = min(1.0, (time + 1) / horizon) / horizon if horizon else 0.0
        amount = routing.shrink * ramp / np.sqrt(head.x.shape[1])
        step(head, routing, state, rate, index, amount)
    return Run(state, cut, {name: mean / total for name, mean in means.items()}, maxima)

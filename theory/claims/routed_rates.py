"""The rate test of the routed optimizer: what settles has the rate O(1 / sqrt T), and controls have not.

M_T is the mean over the steps from T_0 on of |grad_S F|^2, S the run's own support. On a given S
runs start far from its minimiser or near; runs from scratch start far from 0 or at 0. The bound is
Theorem H's, with D of each run after its cut.
"""

import functools
from dataclasses import dataclass

import numpy as np

from theory.claim import FAILS, HOLDS_UNDER, Check, Claim
from theory.claims.routed import canary
from theory.claims.settled import excess, softmax_head
from theory.rate_test.designs import Design
from theory.rate_test.routed_runs import run_optimizer
from theory.rate_test.ruling import STARTS, curve, rule
from theory.reference import bounds
from theory.reference.problems import Array
from theory.reference.routed import (
    Head,
    Mask,
    Measure,
    Routing,
    Run,
    State,
    noise,
    on_support,
    plain,
    run,
)

QUICK, FULL = Design(256, 2**0.5, 64), Design(256, 2, 64)
K, PROBLEM = 2, 8
"""The softmax regression of `settled` with this seed: L = 1.61, and steep where it is emptied."""


@dataclass(frozen=True)
class Case:
    """A way to run, and what is expected of it.

    Attributes:
        name, label: of the claim.
        converges: whether it has the rate.
        given: whether runs start settled, on the support that a pilot run found.
        share: T_0 over T of a run from scratch; 1 for never.
        fixed: T_0 of all run lengths instead, and the mean is taken over all steps.
        momentum: b; seeds are twice as many with it.
        shrink: of the ramp while routing.
        constant: whether the step size is the same for all T.
        measure: M's square.
        library: the installed optimizer in place of the judge's simulation.
        canary: CE2 with K = 1, neither guard nor look-ahead, instead of the softmax regression.
    """

    name: str
    label: str
    converges: bool = True
    given: bool = False
    share: float = 0.25
    fixed: int = 0
    momentum: float = 0.0
    shrink: float = 3.0
    constant: bool = False
    measure: Measure = on_support
    library: bool = False
    canary: bool = False

    @property
    def settles(self) -> bool:
        """Whether runs ever settle."""
        return self.share < 1

    def head(self) -> Head:
        """The problem."""
        return canary() if self.canary else softmax_head(PROBLEM)

    def eta(self, T: float, shortest: float) -> float:
        """Of a run of T steps: at the shortest, four fifths of what the theorem allows."""
        scale = 1.0 if self.constant else float(np.sqrt(shortest / T))
        largest = 1.2 if self.canary else 0.8 / self.head().L
        return (1 - self.momentum) * largest * scale


CASES = [
    Case("rate-settled", "settled on a given support", given=True),
    Case("rate-settled-momentum", "the same, momentum .9", given=True, momentum=0.9),
    Case("rate-routed", "routed for T / 4 steps, then settled"),
    Case("rate-prefix", "routed for 64 steps, all steps counted", fixed=64),
    Case("rate-default", "the optimizer, routed for T / 4 steps, then settled", library=True),
    Case(
        "rate-default-prefix",
        "the optimizer, routed for 64 steps, all steps counted",
        fixed=64,
        library=True,
    ),
    Case("control-settled-constant", "settled, constant step", False, given=True, constant=True),
    Case("control-settled-plain-norm", "settled, plain norm", False, given=True, measure=plain),
    Case(
        "control-routed-shrinking",
        "routed for ever, shrinking over 64 steps",
        False,
        share=1,
        shrink=30.0,
    ),
    Case("control-routed", "routed for ever on CE2", False, share=1, shrink=0, canary=True),
]


def _starts(case: Case, head: Head, seeds: int, rng: np.random.Generator) -> State:
    """Half of the runs from afar, half from nearby."""
    shape = (seeds, head.outputs, head.x.shape[1])
    offsets = np.repeat(list(STARTS.values()), seeds)[:, None, None]
    if case.canary:
        return State(np.array([[-np.log(2), np.log(2)]]) + offsets)
    if not case.given:
        return State(np.concatenate([1 + 0.3 * rng.standard_normal(shape), np.zeros(shape)]))
    # Of its own generator, so that runs of all lengths have one support.
    first = np.random.default_rng(PROBLEM)
    pilot = State(0.3 * first.standard_normal((1, *shape[1:])))
    run(head, Routing(K, shrink=3.0), 0.5 / head.L, 400, pilot, first, horizon=200)
    pilot.settle(K)
    S = np.repeat(pilot.support, 2 * seeds, axis=0)
    best = head.minimiser(pilot.support)
    state = State.dense(np.where(S, best + offsets, 0.0))
    state.support = S
    return state


def _run(case: Case, head: Head, state: State, T: int, eta: float, rng: np.random.Generator) -> Run:
    """2 S runs of T steps, measured from T_0 on, or over all steps where T_0 is fixed."""
    T0 = case.fixed or (0 if case.given else int(case.share * T))
    routing = Routing(
        1 if case.canary else K,
        momentum=case.momentum,
        shrink=case.shrink,
        guard=not case.canary,
        foresight=0.0 if case.canary else 10.0,
        settle=T0 if case.settles and not case.given else None,
    )
    window = 0 if case.fixed or not case.settles else T0
    measures: dict[str, Measure] = {"left": case.measure, "noise": noise}
    if case.library:
        return run_optimizer(
            head, K, eta, T, state.W, rng, settle=T0, measures=measures, window=window
        )
    horizon = max(1, T0 // 2) if case.settles else 64
    return run(head, routing, eta, T, state, rng, horizon=horizon, measures=measures, window=window)


def _strength(head: Head, W: Array, support: Mask) -> float:
    """The least eigenvalue of the Hessian on the supports, at their minimisers."""
    inside = support.reshape(len(support), -1)
    H = head.hessian(W)
    least = [np.linalg.eigvalsh(h[np.ix_(s, s)])[0] for h, s in zip(H, inside, strict=True)]
    return float(min(least))


def check(case: Case, quick: bool, seed: int) -> Check:
    """Slopes from both starts, floors, and Theorem H's bound where it speaks."""
    head, design = case.head(), QUICK if quick else FULL
    times, seeds = design.horizons, design.seeds * (2 if case.momentum else 1)
    squares, ratios, lived = [], [], np.inf
    for T in times:
        rng, eta = np.random.default_rng((seed, int(T))), case.eta(T, times[0])
        done = _run(case, head, _starts(case, head, seeds, rng), int(T), eta, rng)
        squares.append(done.means["left"])
        N = T - (case.fixed or (0 if case.given else int(case.share * T) % T))
        mu = 0.1 if case.canary else _mu(case, head, done)
        lived = min(lived, eta / (1 - case.momentum) * N * mu)
        if case.settles and case.measure is on_support and not case.fixed:
            ratios.append(_ratio(case, head, done, eta, int(N)))
    ruling = rule(times, np.array(squares), lived, seed)
    note, also = str(ruling), []
    if ratios:
        worst = max(ratios, key=lambda part: part.measured)
        note = f"{note}; Theorem H, left over right side at most {worst.measured:.3f}"
        also = ratios
    found = ruling.check(note, int(times[-1]), seeds, tuple(also))
    found.numbers.update(curve(times, np.array(squares), ruling))
    return found


def _mu(case: Case, head: Head, done: Run) -> float:
    support = done.state.support
    distinct = np.unique(support, axis=0)
    return _strength(head, head.minimiser(distinct), distinct)


def _ratio(case: Case, head: Head, done: Run, eta: float, N: int) -> Check:
    """Left over right side of Theorem H, over the runs of both starts."""
    D = excess(head, done, case.momentum, eta)
    spread, left = done.means["noise"], done.means["left"]
    if case.momentum:
        G2 = float((done.maxima["left"] + done.maxima["noise"]).max())
        right = bounds.theorem_f(float(D.mean()), head.L, eta, N, case.momentum, G2)
        error = float(left.std(ddof=1))
    else:
        right = bounds.theorem_a(float(D.mean()), head.L, eta, N, float(spread.mean()))
        error = float((left - 2 * D / (eta * N) - head.L * eta * spread).std(ddof=1))
    error /= np.sqrt(len(left)) * right
    note = f"Theorem H: left over right side {float(left.mean()) / right:.3f} at N = {N}"
    return Check(float(left.mean()) / right, 1.0, error=error, n=N, seeds=len(left), note=note)


def _claim(case: Case) -> Claim:
    function = functools.partial(check, case)
    if not case.converges:
        statement = f"a broken optimizer or statistic shows the rate: {case.label}"
        return Claim(case.name, "rate test", statement, FAILS, function)
    statement = f"{case.label}: mean |grad_S F|^2 falls at O(1/sqrt T)"
    condition = "eta constant in a run, of order 1/sqrt T"
    return Claim(case.name, "Theorem H", statement, HOLDS_UNDER, function, condition)


CLAIMS = [_claim(case) for case in CASES]

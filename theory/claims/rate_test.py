"""The rate test: every mode of the real optimizer, and the controls that the test must reject."""

import functools
from collections.abc import Callable

import numpy as np

from interpretable_sgd.convergence import estimate_rate
from theory.claim import FAILS, HOLDS_UNDER, Check, Claim
from theory.rate_test.configurations import FAR, MODES, PROBLEMS, Mode
from theory.rate_test.controls import CONTROLS, Control, averages, stalled_minimum
from theory.rate_test.designs import design
from theory.rate_test.optimizer_runs import Run, Setup, run
from theory.rate_test.ruling import STARTS, curve, interval, rule
from theory.reference import bounds
from theory.reference.probabilities import literal
from theory.reference.problems import Array, Regression


def mode_check(mode: Mode, quick: bool, seed: int) -> Check:
    """Slopes from both starts, the floor, and the bound that the optimizer's guarantee states."""
    checks, numbers = [], dict[str, float]()
    for name in mode.problems[:1] if quick else mode.problems:
        check, measured = _on(mode, name, quick, seed)
        checks.append(check)
        numbers |= {f"{name} {key}": value for key, value in measured.items()}
    first, *rest = checks
    return Check(
        first.measured,
        first.bound,
        n=first.n,
        seeds=first.seeds,
        note="; ".join(check.note for check in checks),
        numbers=numbers,
        also=(*first.also, *rest),
        unclear=first.unclear,
    )


def _on(mode: Mode, name: str, quick: bool, seed: int) -> tuple[Check, dict[str, float]]:
    """One mode on one problem."""
    problem, chosen = PROBLEMS[name](), design(quick, mode)
    times, seeds = chosen.horizons, chosen.seeds
    best = np.asarray(problem.facts.minimiser)
    offsets = (FAR[name], STARTS["near"])
    starts = np.concatenate([np.tile(best + offset, (seeds, 1)) for offset in offsets])
    setup = Setup(problem, mode.complete(name), mode.batch, mode.separate, mode.momentum)
    shrink = _shrink(mode, name, problem)
    runs, ratios, errors = [], [], []
    for T in times:
        eta = mode.step(name, T, times[0])
        term = functools.partial(shrink, eta) if shrink else None
        done = run(setup, starts, eta, int(T), seed + int(T), shrink=term)
        runs.append(done)
        for rows in (slice(0, seeds), slice(seeds, None)):
            ratio, error = _against_bound(mode, problem, done, rows, starts[rows][0], eta, int(T))
            ratios.append(ratio)
            errors.append(error)
    squares = np.array([done.square for done in runs])
    lived = _time_constants(mode, name, problem, runs, times)
    ruling = rule(times, squares, lived, seed, mode.exponent)
    promise = runs[0].guarantee
    theorem = (promise.theorem or "") if promise else ""
    note = f"{name}: {ruling}"
    worst = int(np.argmax(np.array(ratios) + 3 * np.array(errors)))
    also = []
    if theorem or not promise:
        title = f"Theorem {theorem or 'A'}"
        note = f"{note}; {title}, left over right side at most {ratios[worst]:.3f}"
        bound_note = f"{title}: left over right side {ratios[worst]:.3f} on {name}"
        also.append(Check(ratios[worst], 1.0, error=errors[worst], note=bound_note))
    agrees = f"guarantee() says {theorem or 'none'}, expected {mode.theorem or 'none'}"
    also.append(Check(float(theorem != mode.theorem), 0.0, note=agrees))
    numbers = curve(times, squares, ruling) | {"bound ratio": ratios[worst]}
    return ruling.check(note, int(times[-1]), seeds, tuple(also)), numbers


def _shrink(
    mode: Mode, name: str, problem: Regression
) -> Callable[[float, int, Array], Array] | None:
    """What the shrink adds to the bound of Theorem A at a step, given eta."""
    options = mode.complete(name) or {}

    def term(eta: float, step: int, pi: Array) -> Array:
        progress, epsilon = min(1.0, (step + 1) / options["form"]), options["exploration"]
        K = problem.d * (options["block_size"] / problem.d) ** progress
        responsible = (pi - epsilon * K / problem.d) / (1 - epsilon)
        amount = options["shrink"] * progress / (np.sqrt(problem.d) * 250) * (1 - responsible)
        return bounds.shrink_term(problem.known("L"), eta, amount, pi)

    return term if mode.shrinks else None


def _against_bound(
    mode: Mode, problem: Regression, done: Run, rows: slice, start: Array, eta: float, T: int
) -> tuple[float, float]:
    """Left over right side of the mode's theorem for one start, and its standard error.

    Variances and second moments are those met along the run: the bounds hold for their means.
    """
    reading, L = done.reading, problem.known("L")
    D = float(problem.value(start)) - problem.known("minimum")
    left = reading.weighted[rows]
    noise = L * eta * reading.noise[rows]
    if mode.theorem == "F":
        G2 = reading.moment[rows]
        right = bounds.theorem_f(D, L, eta, T, mode.momentum, float(G2.mean()))
        noise = (right - 2 * (1 - mode.momentum) * D / (eta * T)) * G2 / G2.mean()
    elif mode.shrinks:
        shrink = reading.shrink[rows]
        S = float(reading.noise[rows].mean())
        right = bounds.theorem_a_shrink(D, L, eta, T, S, float(shrink.mean()))
        noise = 2 * noise + shrink
    else:
        right = bounds.theorem_a(D, L, eta, T, float(reading.noise[rows].mean()))
    error = float((left - noise).std(ddof=1)) / np.sqrt(len(left))
    return float(left.mean()) / right, error / right


def _time_constants(
    mode: Mode, name: str, problem: Regression, runs: list[Run], times: Array
) -> float:
    """min over horizons of eta T mu_Pi, mu_Pi the least eigenvalue of Pi^1/2 H Pi^1/2 at w*."""
    w = np.asarray(problem.facts.minimiser)
    shifts = 1e-5 * np.eye(problem.d)
    H = (problem.gradient(w + shifts) - problem.gradient(w - shifts)) / 2e-5
    found = []
    for done, T in zip(runs, times, strict=True):
        # K = 1 of Algorithm 3, s = 0, scores x^2: the mean over samples of the probabilities.
        paper = mode.theorem == "" and mode.options is not None
        pi = literal(problem.x**2, 1.0).mean(0) if paper else done.reading.pi.mean(0)
        root = np.sqrt(pi)
        mu = np.linalg.eigvalsh(root[:, None] * (H + H.T) / 2 * root)[0]
        found.append(mode.step(name, T, times[0]) / (1 - mode.momentum) * T * mu)
    return float(min(found))


def control_check(control: Control, quick: bool, seed: int) -> Check:
    """The same test on an optimizer whose verdict is known beforehand."""
    chosen, rng = design(quick), np.random.default_rng(seed)
    times, seeds = chosen.horizons, chosen.seeds
    squares = np.array(
        [
            np.concatenate(
                [averages(control, int(T), far, (seeds,), rng) for far in STARTS.values()]
            )
            for T in times
        ]
    )
    lived = min(control.time_constants(float(T)) for T in times)
    ruling = rule(times, squares, lived, seed)
    check = ruling.check(str(ruling), int(times[-1]), seeds)
    check.numbers.update(curve(times, squares, ruling))
    return check


def running_minimum(quick: bool, seed: int) -> Check:
    """SGD stalled at its floor, d = 4: the average shows it, the minimum so far does not."""
    times = [2**k for k in ((8, 9, 10, 11) if quick else (9, 10, 11, 12))]
    average, minimum = stalled_minimum(4, times, 64, np.random.default_rng(seed))
    honest, fooled = (estimate_rate(times, values, seed=seed) for values in (average, minimum))
    note = f"stalled run, d = 4: slope of the running minimum {interval(fooled)}, "
    note += f"of the average {interval(honest)}"
    numbers = {"minimum slope": fooled.slope, "average slope": honest.slope}
    return Check(fooled.interval[0], -0.1, ">=", n=times[-1], seeds=64, note=note, numbers=numbers)


def _mode_claim(mode: Mode) -> Claim:
    rate = "O(1/T)" if mode.exponent == 1 else "O(1/sqrt T)"
    source = f"Theorem {mode.theorem}" if mode.theorem else "Theorem 1"
    if mode.options is None:
        source = "Theorem A, pi = 1"
    statement = f"{mode.label}: mean |grad F|^2 falls at {rate}"
    function = functools.partial(mode_check, mode)
    if not mode.converges:
        return Claim(mode.name, source, statement, FAILS, function)
    condition = "eta constant in a run" + ("" if mode.exponent == 1 else ", of order 1/sqrt T")
    return Claim(mode.name, source, statement, HOLDS_UNDER, function, condition)


def _control_claim(control: Control) -> Claim:
    words = control.name.replace("(", "").replace(")", "").replace(",", "").lower().split()
    kind = "a correct optimizer" if control.works else "a broken optimizer"
    return Claim(
        "control-" + "-".join(words),
        "rate test",
        f"{kind} shows the rate: {control.name}",
        HOLDS_UNDER if control.works else FAILS,
        functools.partial(control_check, control),
        "eta of order 1/sqrt T" if control.works else "",
    )


CLAIMS = [
    *(_mode_claim(mode) for mode in MODES),
    *(_control_claim(control) for control in CONTROLS),
    Claim(
        "control-running-minimum",
        "rate test",
        "the running minimum of |grad F|^2 tells a stalled optimizer from a converging one",
        FAILS,
        running_minimum,
    ),
]

import dataclasses

import numpy as np
import pytest

from theory.claim import Verdict
from theory.claims.decaying_steps import CLAIMS as DECAYING
from theory.claims.rate_test import CLAIMS, control_check, mode_check, running_minimum
from theory.claims.settled import softmax_head
from theory.rate_test.configurations import MODES, PLAIN, PROBLEMS, canary, ridge, robust, squares
from theory.rate_test.controls import (
    CANARY_MINIMISER,
    CONTROLS,
    FEATURES,
    averages,
    gaps,
    stalled_minimum,
)
from theory.rate_test.designs import design
from theory.rate_test.optimizer_runs import Setup, run
from theory.rate_test.routed_runs import run_optimizer
from theory.rate_test.ruling import rule
from theory.reference import bounds, routed
from theory.reference.routed import on_support

T = np.array([128.0, 256.0, 512.0, 1024.0])


def noisy(mean, runs, rng, shape=()):
    return mean[:, None] * rng.gamma(4, 0.25, (*shape, len(mean), runs))


def test_rulings():
    """The slowest start and the larger floor are what a check holds against its bounds."""
    rng = np.random.default_rng(2)
    good, flat, high = (noisy(mean, 64, rng) for mean in (T**-0.5, np.ones(4), 0.05 + T**-0.5))

    def outcome(far, near, time_constants):
        ruling = rule(T, np.concatenate([far, near], axis=1), time_constants, seed=0)
        return ruling.check("", 1024, 64).outcome(), ruling

    assert outcome(good, good, 4)[0] == "HOLDS"
    assert outcome(good, flat, 4)[0] == outcome(flat, good, 4)[0] == "FAILS"
    assert "from near" in outcome(good, flat, 4)[1].reason
    assert outcome(good, high, 4)[0] == "FAILS"
    assert outcome(good, flat, 2)[0] == outcome(good, good, 2)[0] == "INCONCLUSIVE"
    diverged = np.full((4, 64), np.inf)
    assert outcome(good, diverged, 4)[0] == "FAILS"


@pytest.mark.parametrize("make", PROBLEMS.values())
def test_minimisers_of_the_problems_are_stationary_and_steps_are_allowed(make):
    problem = make()
    np.testing.assert_allclose(problem.gradient(problem.facts.minimiser), 0, atol=1e-12)
    for mode in MODES:
        for name in mode.problems:
            largest = 1 / PROBLEMS[name]().known("L")
            assert mode.step(name, 128, 128) <= largest * (1 - mode.momentum), (mode.name, name)


@pytest.mark.parametrize("mode", [None, *MODES], ids=lambda mode: mode.name if mode else "control")
def test_designs_have_four_horizons_and_a_full_one_is_no_smaller(mode):
    quick, full = design(True, mode), design(False, mode)
    assert len(quick.horizons) == len(full.horizons) == 4
    assert (full.horizons >= quick.horizons).all()
    assert full.horizons[-1] * full.seeds >= quick.horizons[-1] * quick.seeds
    for control in CONTROLS if mode is None else ():
        assert control.time_constants(quick.shortest) >= 3


def starts(problem, rows):
    return np.tile(problem.facts.minimiser + 1, (rows, 1))


@pytest.mark.parametrize("make", [squares, robust, canary])
def test_rows_of_one_layer_are_separate_runs(make):
    """Exactly, where nothing is drawn but samples, which rows share with layers."""
    problem = make()
    together, apart = (
        run(Setup(problem, None, batch=2, separate=s), starts(problem, 5), 0.1, 30, seed=3)
        for s in (False, True)
    )
    np.testing.assert_allclose(together.w, apart.w, rtol=1e-9)
    np.testing.assert_allclose(together.square, apart.square, rtol=1e-9)
    assert len(np.unique(together.w[:, 0])) == 5


def test_rows_of_one_layer_have_the_law_of_separate_runs():
    """Random masks: means of 64 rows and of 64 layers within 4 standard errors."""
    problem = squares()
    options = {"block_size": 2, **PLAIN}
    found = [
        run(Setup(problem, options, separate=s), starts(problem, 64), 0.1, 30, seed=7 + s).square
        for s in (False, True)
    ]
    error = np.hypot(*(part.std(ddof=1) for part in found)) / 8
    assert abs(found[0].mean() - found[1].mean()) < 4 * error


def test_runs_of_the_optimizer_are_runs_of_torch_where_a_row_is_a_block():
    """K = M: every group of rows is SGD on a softmax regression, as the judge runs it."""
    head, eta, T = softmax_head(0), 0.3, 40
    start = 0.3 * np.random.default_rng(0).standard_normal((3, 3, 6))
    measures = {"left": on_support}
    ours = run_optimizer(
        head,
        6,
        eta,
        T,
        start,
        np.random.default_rng(5),
        settle=10,
        measures=measures,
        window=10,
    )
    rng = np.random.default_rng(5)
    state = routed.State.dense(start)
    for time in range(T):
        assert time < 10 or not np.allclose(state.W, start)
        routed.step(head, routed.Routing(6), state, eta, rng.integers(40, size=3)[:, None])
    np.testing.assert_allclose(ours.state.W, state.W, rtol=1e-9)


def test_a_full_batch_run_is_gradient_descent():
    problem, eta = ridge(), 0.5
    done = run(
        Setup(problem, None, batch=0), starts(problem, 2), eta, 20, seed=0, stops=(0, 7, 20)
    )  # fmt: skip
    w, squares_, gaps_ = starts(problem, 2), [], []
    for step in range(21):
        if step in (0, 7, 20):
            gaps_.append(problem.value(w) - problem.known("minimum"))
        squares_.append((problem.gradient(w) ** 2).sum(-1))
        w = w - eta * problem.gradient(w) if step < 20 else w
    np.testing.assert_allclose(done.w, w, rtol=1e-9)
    np.testing.assert_allclose(done.square, np.mean(squares_[:20], axis=0), rtol=1e-9)
    np.testing.assert_allclose(done.path, gaps_, rtol=1e-8)
    np.testing.assert_allclose(done.reading.weighted, done.square)
    np.testing.assert_array_equal(done.reading.noise, 0)


def test_the_canary_knows_its_minimiser():
    slopes = -1 / (1 + np.exp(FEATURES @ CANARY_MINIMISER))
    np.testing.assert_allclose(slopes @ FEATURES / 3, 0, atol=1e-12)


def test_averages_of_a_noiseless_control_are_exact():
    stuck = next(control for control in CONTROLS if control.name == "stuck")
    found = averages(stuck, 10, 1.0, (2, 3), np.random.default_rng(0))
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found, 1 + 0.85**2 + 0.7**2, rtol=1e-6)


def test_gaps_of_sgd_reach_their_floor():
    """eta sum_j 1 / (2 - eta h_j) / 2, for unit noise; 4 standard errors."""
    sgd = CONTROLS[0]
    path = gaps(sgd, lambda t: 0.2, (300,), 2000, np.random.default_rng(0))[0]
    expected = 0.2 / 2 * sum(1 / (2 - 0.2 * h) for h in (1.0, 0.85, 0.7))
    assert abs(path.mean() - expected) < 4 * path.std() / np.sqrt(2000)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_controls_are_judged_rightly(control):
    claim = next(c for c in CLAIMS if getattr(c.function, "args", ())[:1] == (control,))
    check = control_check(control, True, 1)
    assert Verdict(claim, check).as_documented


def test_the_running_minimum_of_a_stalled_run_falls():
    check = running_minimum(True, 0)
    assert check.outcome() == "FAILS"
    assert check.numbers["minimum slope"] < -0.4 < -0.05 < check.numbers["average slope"]
    average, minimum = stalled_minimum(2, [16, 64], 8, np.random.default_rng(0))
    assert average.shape == minimum.shape == (2, 8)
    assert (minimum <= average).all()


@pytest.mark.parametrize("claim", DECAYING, ids=lambda claim: claim.name)
def test_decaying_steps_are_judged_rightly(claim):
    assert Verdict(claim, claim.function(True, 1)).as_documented


@pytest.mark.parametrize("name", ["rate-sgd", "rate-shared", "rate-shrinking", "rate-algorithm3"])
def test_modes_are_judged_rightly(name):
    claim = next(claim for claim in CLAIMS if claim.name == name)
    check = claim.function(True, 2)
    assert Verdict(claim, check).as_documented, check.note


def test_the_same_seed_gives_the_same_check():
    mode = next(mode for mode in MODES if mode.name == "rate-sgd")
    first, second = mode_check(mode, True, 4), mode_check(mode, True, 4)
    assert first == second


def test_a_broken_promise_is_seen():
    """An optimizer that promises a theorem it does not have fails, whatever its slope."""
    mode = next(mode for mode in MODES if mode.name == "rate-sgd")
    check = mode_check(dataclasses.replace(mode, theorem="B", options=PLAIN), True, 0)
    assert any("guarantee() says A, expected B" in part.note for part in check.also)
    assert check.outcome() == "FAILS"


def test_names_are_unique_and_conditions_follow_the_guarantee():
    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names)
    assert {mode.theorem for mode in MODES if not mode.converges} == {"", "A with shrink"}
    assert bounds.theorem_a(1, 1, 0.1, 10, 0) == 2

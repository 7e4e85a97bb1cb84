import itertools

import numpy as np
import pytest

from theory.reference import bounds
from theory.reference.algorithm3 import Method, run, square, weighted
from theory.reference.probabilities import floored, literal, top, waterfill
from theory.reference.suite import ce1, diagonal, logistic

PI = np.array([0.9, 0.5, 0.2])


def masks(pi=PI):
    for bits in itertools.product((0.0, 1.0), repeat=len(pi)):
        q = np.array(bits)
        yield q, np.where(q == 1, pi, 1 - pi).prod()


@pytest.mark.parametrize("eta", [0.1, 1.0])
def test_a_step_of_theorem_a_by_enumeration(eta):
    problem = logistic(d=3)
    eta = eta / problem.facts.L
    for w in 3 * np.random.default_rng(0).standard_normal((20, 3)):
        g = problem.gradients(w)
        after = sum(
            chance * problem.value(w - eta * q * gi).mean() / len(g)
            for q, chance in masks()
            for gi in g
        )
        norm, noise = (PI * g.mean(0) ** 2).sum(), (PI * g.var(0)).sum()
        bound = problem.value(w) - eta / 2 * norm + problem.facts.L * eta**2 / 2 * noise
        assert after <= bound + 1e-12


@pytest.mark.parametrize("amount", [0.0, 0.01, 0.3])
def test_a_step_of_theorem_a_with_shrink_by_enumeration(amount):
    problem = logistic(d=3)
    L = problem.facts.L
    eta, a = 1 / (4 * L), amount * (1 - PI)
    for w in 3 * np.random.default_rng(0).standard_normal((20, 3)):
        g = problem.gradients(w)
        after = 0.0
        for (q, chance), gi in itertools.product(masks(), g):
            moved = w - eta * q * gi
            moved = np.sign(moved) * np.maximum(0, np.abs(moved) - a)
            after += chance * problem.value(moved) / len(g)
        norm, noise = (PI * g.mean(0) ** 2).sum(), (PI * g.var(0)).sum()
        term = eta / 2 * bounds.shrink_term(L, eta, a, PI)
        assert after <= problem.value(w) - eta / 2 * norm + L * eta**2 * noise + term + 1e-12


def test_the_shrink_bound_without_shrink_is_theorem_a_with_twice_the_noise():
    args = dict(D=1.0, L=2.0, eta=0.125, steps=100, S=3.0)
    without = bounds.theorem_a_shrink(**args, shrink=0.0)
    assert without == pytest.approx(bounds.theorem_a(**args) + 2.0 * 0.125 * 3.0)


def test_the_tuned_step_gives_the_rate():
    D, L, S = 2.0, 3.0, 0.7
    for steps in (1, 100, 10_000):
        bound = bounds.theorem_a(D, L, bounds.step_a(D, L, steps, S), steps, S)
        assert bound <= bounds.theorem_a_rate(D, L, steps, S) + 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.theorem_a(1, 2, 0.6, 10, 1), r"eta must be in \(0, 1/L=0.5\], got 0.6"),
        (lambda: bounds.theorem_a_shrink(1, 2, 0.2, 10, 1, 0), r"eta must be in \(0, 1/\(4L\)"),
        (lambda: bounds.theorem_b(1, 2, 0.6, 10, 1, 0.5), "eta must be in .* got 0.6"),
        (lambda: bounds.theorem_n(1, np.array([1.0, 4.0]), 0.3, 10, 1), "1/Lambda=0.2.* got 0.3"),
        (lambda: bounds.theorem_c_sharp(1, 1, 1, 10, 1, 1.2), "theta must be below 1, got 1.2"),
        (lambda: bounds.theorem_d_convex(1, 0.3, 2, 10, 1), r"1/\(2L\)=0.25\], got 0.3"),
        (lambda: bounds.theorem_d_unbiased(0.5, 10, 1, 0.3), "2 pi_min.* got 0.5"),
        (lambda: bounds.theorem_f(1, 1, 1, 10, 1.0, 1), r"momentum must be in \[0, 1\), got 1.0"),
    ],
)
def test_bounds_refuse_what_they_are_not_for(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_theorem_f_without_momentum_has_the_shape_of_theorem_a():
    assert bounds.theorem_f(1, 2, 0.1, 50, 0.0, 3) == pytest.approx(
        bounds.theorem_a(1, 2, 0.1, 50, 3)
    )


def test_the_decaying_step_starts_at_one_over_l_and_its_bound_at_the_gap():
    assert bounds.decaying_step(5.0, 0.1, 0) == pytest.approx(1 / 5)
    assert bounds.theorem_d(D=1.0, L=5.0, mu=0.1, S=0.0, time=0) == pytest.approx(1.0)


def test_the_worst_bias_by_brute_force():
    pi = np.random.default_rng(0).random((4, 3)) + 0.1
    rng, bound = np.random.default_rng(1), bounds.worst_bias(pi)
    g = rng.standard_normal((20_000, 4, 3))
    # Project on zero mean step, coordinate by coordinate.
    g -= pi * ((pi * g).sum(1) / (pi**2).sum(0))[:, None]
    ratio = g.mean(1) ** 2 / (g**2).mean(1)
    assert (ratio <= bound + 1e-12).all()
    assert (ratio.max(0) >= 0.95 * bound).all()


def test_the_literal_size_of_equal_constants():
    assert bounds.literal_size(np.ones(10), 2.0) == pytest.approx(literal(np.ones(10), 2.0).sum())


@pytest.mark.parametrize("block", [0.5, 1, 3, 7.5])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1, 4, 300])
def test_water_filling_against_bisection(block, gamma):
    constants = np.random.default_rng(3).chisquare(1, 12)
    low, high = -2_000.0, 2_000.0
    for _ in range(200):
        kappa = (low + high) / 2
        size = np.exp(np.minimum(0, gamma * np.log(constants) + kappa)).sum()
        low, high = (kappa, high) if size < block else (low, kappa)
    expected = np.exp(np.minimum(0, gamma * np.log(constants) + high))
    assert np.allclose(waterfill(constants, block, gamma), expected, atol=1e-9)


def test_water_filling_of_zeros_is_uniform_and_gives_single_zeros_nothing():
    assert np.allclose(waterfill(np.zeros(4), 2, 2.0), 0.5)
    assert np.allclose(waterfill(np.array([0.0, 1.0, 1.0]), 1, 2.0), [0, 0.5, 0.5])


def test_top_shares_ties():
    assert np.allclose(top(np.array([3.0, 2, 2, 2, 1]), 2), [1, 1 / 3, 1 / 3, 1 / 3, 0])
    assert np.allclose(top(np.array([3.0, 2, 1]), 2), [1, 1, 0])


def test_the_floor_keeps_the_sum():
    pi = floored(np.array([1.0, 0.5, 0.0, 0.0]), 0.2, 1.5)
    assert pi.sum() == pytest.approx(1.5)
    assert pi.min() == pytest.approx(0.2 * 1.5 / 4)


def test_runs_are_reproducible_and_differ_between_seeds():
    problem, method = logistic(), Method("shared", floor=0.1)
    ends = [run(problem, method, 0.5, 50, 3, np.random.default_rng(s)).w for s in (1, 1, 2)]
    assert np.array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


def test_a_mask_of_ones_is_plain_descent():
    problem, steps = logistic(), 20
    full = Method("shared", np.ones(4), sampling="full")
    w = problem.start
    for _ in range(steps):
        w = w - 0.5 * problem.gradient(w)
    assert np.allclose(run(problem, full, 0.5, steps, 2, np.random.default_rng(0)).w, w)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (Method("sample", "literal", 1.0, sampling="full"), lambda pi, g: (pi * g).mean(0)),
        (Method("sample", "literal", 1.0, sampling="poisson"), lambda pi, g: (pi * g).mean(0)),
        (Method("sample", "literal", 1.0), lambda pi, g: (pi * g).mean(0)),
        (Method("sample", "literal", 1.0, unbiased=True), lambda pi, g: g.mean(0)),
        (Method("same-batch", "literal", 1.0), lambda pi, g: (pi * g).mean(0)),
        (Method("shared", np.array([0.7, 0.2])), lambda pi, g: [0.7, 0.2] * g.mean(0)),
        (
            Method("shared", np.array([0.7, 0.3]), unbiased=True, single=True),
            lambda pi, g: g.mean(0),
        ),
    ],
    ids=["full", "poisson", "replacement", "unbiased", "same batch", "fixed", "single"],
)
def test_the_mean_of_a_step(method, expected):
    problem, seeds = ce1(), 200_000
    w = np.array([0.3, 0.4])
    end = run(problem, method, 1.0, 1, seeds, np.random.default_rng(0), start=w).w
    steps = w - end
    g = problem.gradients(w)
    mean = expected(literal(problem.curvatures(w), 1.0), g)
    error = steps.std(0) / np.sqrt(seeds)
    assert (np.abs(steps.mean(0) - mean) < 4.5 * error).all()


def test_measures_are_means_over_the_steps():
    problem = diagonal(np.array([1.0, 2.0]))
    method = Method("shared", np.array([1.0, 1.0]), sampling="full")
    measures = {"square": square, "weighted": weighted}
    done = run(problem, method, 0.1, 3, 1, np.random.default_rng(0), measures=measures)
    w, squares = problem.start, []
    for _ in range(3):
        squares.append((problem.gradient(w) ** 2).sum())
        w = w - 0.1 * problem.gradient(w)
    assert done.means["square"][0] == pytest.approx(np.mean(squares))
    assert done.maxima["weighted"][0] == pytest.approx(max(squares))

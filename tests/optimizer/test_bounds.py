"""The library's bounds against theory's own, their limits, and the steps they refuse."""

import math

import numpy as np
import pytest

from interpretable_sgd.optimizer import bounds
from theory.reference import bounds as theory

D, L, T, S = 1.3, 2.5, 400, 0.7


@pytest.mark.parametrize("lr", [0.01, 0.1, 1 / (4 * L)])
def test_the_two_ways_of_writing_agree(lr):
    """theory's functions share no code with these."""
    pairs = [
        (bounds.theorem_a(D, L, lr, T, S), theory.theorem_a(D, L, lr, T, S)),
        (
            bounds.theorem_a_shrink(D, L, lr, T, S, 0.2),
            theory.theorem_a_shrink(D, L, lr, T, S, 0.2),
        ),
        (bounds.theorem_b(D, L, lr, T, S), theory.theorem_b(D, L, lr, T, S, 1 / L)),
        (bounds.theorem_c(D, L, lr, T, S, 0.3), theory.theorem_c(D, L, lr, T, 0.3, S)),
        (
            bounds.theorem_c_prime(D, L, lr, T, S, 0.0, ratio=0.4),
            theory.theorem_c_sharp(D, L, lr, T, S, 0.4),
        ),
        (bounds.theorem_f(D, L, lr, T, S, 0.9), theory.theorem_f(D, L, lr, T, 0.9, S)),
        (bounds.theorem_d(D, L, 0.5, S, 30), theory.theorem_d(D, L, 0.5, S, 30)),
        (bounds.decaying_step(L, 0.5, 30), theory.decaying_step(L, 0.5, 30)),
        (bounds.theorem_a_best(D, L, T, S), theory.theorem_a_rate(D, L, T, S)),
        (bounds.best_step(D, L, T, S), theory.step_a(D, L, T, S)),
        (bounds.theorem_e(D, L, T, 5, 64), theory.theorem_e_greedy(D, L, 64, 5, T)),
        (
            bounds.theorem_n(D, [0.1, 0.4, 2.0], lr, T, S),
            theory.theorem_n(D, np.array([0.1, 0.4, 2.0]), lr, T, S),
        ),
    ]
    for ours, theirs in pairs:
        assert ours == pytest.approx(theirs, rel=1e-13)


def test_theorem_h_is_a_on_what_is_left_and_a_schedule_of_equal_steps_is_constant():
    assert bounds.theorem_h(D, L, 0.1, T, S) == bounds.theorem_a(D, L, 0.1, T, S)
    schedule = bounds.theorem_h_schedule(D, L, [0.1] * T, S)
    assert schedule == pytest.approx(bounds.theorem_h(D, L, 0.1, T, S))
    # A cosine is between its largest step's noise term and its mean step's descent term.
    cosine = [0.2 * (1 + math.cos(math.pi * t / T)) for t in range(T)]
    mean = sum(cosine) / T
    found = bounds.theorem_h_schedule(D, L, cosine, S)
    assert 2 * D / (mean * T) < found < 2 * D / (mean * T) + L * 0.4 * S
    assert bounds.theorem_h_momentum(D, L, 0.1, T, S, 0.0) == pytest.approx(
        bounds.theorem_h(D, L, 0.1, T, S)
    )


def test_the_best_step_is_best():
    best = bounds.best_step(D, L, T, S)
    at_best = bounds.theorem_a(D, L, best, T, S)
    assert all(bounds.theorem_a(D, L, best * by, T, S) > at_best for by in (0.8, 1.2))
    assert at_best <= bounds.theorem_a_best(D, L, T, S)
    assert bounds.best_step(D, L, T, 0.0) == 1 / L


def test_theorem_c_prime_without_bias_is_a_and_cuts_add_to_the_gap():
    assert bounds.theorem_c_prime(D, L, 0.1, T, S, 0.0) == bounds.theorem_a(D, L, 0.1, T, S)
    cut = bounds.theorem_c_prime(D, L, 0.1, T, S, 0.0, jumps=0.5)
    assert cut == bounds.theorem_a(D + 0.5, L, 0.1, T, S)


def test_theorem_i_holds_on_a_run_that_does_not_ascend():
    """SGD on a noisy quadratic, 2000 runs: F(w_T0) in the mean below its bound."""
    rng, lr, steps = np.random.default_rng(0), 0.2, 20
    w, moment = np.full((2000, 3), 0.1), 0.0
    start = 0.5 * (w[0] ** 2).sum()
    for _ in range(steps):
        u = w + rng.standard_normal(w.shape)
        moment = max(moment, (u**2).sum(1).mean())
        w = w - lr * u
    assert 0.5 * (w**2).sum(1).mean() <= bounds.theorem_i(start, 1.0, [lr] * steps, moment)


def test_parts_of_a_run_add_up():
    assert bounds.whole_run(0, 100, 9.0, 0.5) == 0.5
    assert bounds.whole_run(100, 100, 9.0, 0.5) == 9.0


@pytest.mark.parametrize("batch_size", [0.5, 3, 8, 20])
def test_poisson_batches_have_the_variance_that_is_said(batch_size):
    """20,000 batches of 20 samples: sum over coordinates of Var(u_j), within 4 standard errors."""
    rng, n, batches = np.random.default_rng(1), 20, 20_000
    g = rng.standard_normal((n, 4)) + 1
    joins = rng.random((batches, n)) < batch_size / n
    u = joins @ g / batch_size
    squares = ((u - g.mean(0)) ** 2).sum(1)
    exact = bounds.poisson_noise((g**2).sum(1).mean(), batch_size, n)
    assert abs(squares.mean() - exact) <= 4 * squares.std() / batches**0.5 + 1e-12
    assert abs(u.mean(0) - g.mean(0)).max() <= 4.5 * (u.std(0) / batches**0.5).max() + 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.theorem_a(D, L, 0.5, T, S), r"lr must be in \(0, 1 / L = 0.4\], got 0.5"),
        (lambda: bounds.theorem_a(D, L, 0.0, T, S), "lr must be in"),
        (lambda: bounds.theorem_a(-1, L, 0.1, T, S), "gap must be at least 0, got -1"),
        (lambda: bounds.theorem_a(D, 0, 0.1, T, S), "smoothness must be positive, got 0"),
        (lambda: bounds.theorem_a(D, L, 0.1, 0, S), "steps must be positive, got 0"),
        (lambda: bounds.theorem_a(D, L, 0.1, T, math.nan), "noise must be at least 0, got nan"),
        (lambda: bounds.theorem_a_shrink(D, L, 0.2, T, S, 0.0), r"1 / \(4 L\) = 0.1\], got 0.2"),
        (
            lambda: bounds.theorem_b(D, L, 0.1, T, S, least_probability=0.1),
            r"least_probability / L = 0.04\], got 0.1",
        ),
        (
            lambda: bounds.theorem_b(D, L, 0.1, T, S, least_probability=0),
            r"least_probability must be in \(0, 1\], got 0",
        ),
        (lambda: bounds.theorem_c(D, L, 0.1, T, S, -1), "bias must be at least 0, got -1"),
        (
            lambda: bounds.theorem_c_prime(D, L, 0.1, T, S, 0.0, ratio=1),
            r"ratio must be in \[0, 1\), got 1",
        ),
        (lambda: bounds.theorem_d(D, L, 0, S, 1), "curvature must be positive, got 0"),
        (lambda: bounds.theorem_d(D, L, 1, S, -1), "step must be at least 0, got -1"),
        (lambda: bounds.theorem_e(D, L, T, 3, 2), r"kept must be in \[1, size=2\], got 3"),
        (lambda: bounds.theorem_f(D, L, 0.1, T, S, 1), r"momentum must be in \[0, 1\), got 1"),
        (lambda: bounds.theorem_h_schedule(D, L, [0, 0], S), "lrs must be at least 0"),
        (lambda: bounds.theorem_h_schedule(D, L, [0.1, 0.9], S), "lr must be in"),
        (lambda: bounds.whole_run(5, 4, 1, 1), r"prefix must be in \[0, steps=4\], got 5"),
        (lambda: bounds.theorem_n(D, [0, 1], 0.1, T, S), r"constants must be positive, got \[0, 1"),
        (lambda: bounds.poisson_noise(1, 9, 5), r"batch_size must be in \(0, size=5\], got 9"),
    ],
)
def test_arguments_out_of_range(call, message):
    with pytest.raises(ValueError, match=message):
        call()

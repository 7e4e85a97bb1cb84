import numpy as np
import pytest

from interpretable_sgd import Rate, estimate_rate
from interpretable_sgd.convergence import fit_power, judge, time_constants_of_descent

T = np.array([64, 128, 256, 512])
REACHED, SLOWER, INCONCLUSIVE = "at least as fast", "slower", "inconclusive"


def sequence(mean, runs, seed, spread=0.5):
    rng = np.random.default_rng(seed)
    return mean[:, None] * rng.gamma(1 / spread**2, spread**2, (len(mean), runs))


@pytest.mark.parametrize("exponent", [0.25, 0.5, 1.0, 2.0])
def test_exact_powers_give_their_exponent_and_no_floor(exponent):
    values = np.repeat((3.0 * T**-exponent)[:, None], 8, axis=1)
    found = estimate_rate(T, values, exponent=exponent)
    assert isinstance(found, Rate)
    assert found.slope == pytest.approx(-exponent, abs=1e-12)
    assert found.interval == pytest.approx((-exponent, -exponent), abs=1e-12)
    assert found.floor == pytest.approx(0, abs=1e-9)
    assert found.verdict == REACHED


def test_an_exact_floor_is_found():
    means = 1.0 + 4.0 * T**-0.5
    found = estimate_rate(T, np.repeat(means[:, None], 8, axis=1))
    assert found.floor == pytest.approx(1.0 / means[-1], rel=1e-9)
    assert found.verdict == SLOWER
    assert "floor" in found.reason


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        (T**-0.5, REACHED),
        (T**-1.0, REACHED),
        (T**-0.2, SLOWER),
        (np.ones(4), SLOWER),
        (np.ones(4) * 1e-12, SLOWER),
    ],
)
def test_verdicts_on_noisy_sequences(means, verdict):
    assert estimate_rate(T, sequence(means * 1.0, 64, seed=1, spread=0.3)).verdict == verdict


def test_a_wide_interval_concludes_nothing():
    found = estimate_rate(T, sequence(T**-0.45, 8, seed=2, spread=2.0))
    assert found.verdict == INCONCLUSIVE


@pytest.mark.parametrize("trajectories", [False, True])
@pytest.mark.parametrize("runs", [16, 64])
def test_intervals_of_slope_and_floor_cover_at_93_of_100(runs, trajectories):
    """Nominal 95 %; n = 1000 repetitions: at true 95 %, 93 % is 2.9 standard errors away."""
    repetitions, slopes, floors = 1000, 0, 0
    mean = 2.0 * T**-0.5
    for seed in range(repetitions):
        values = sequence(mean, runs, seed)
        if trajectories:
            common = np.random.default_rng([seed, 1]).gamma(16, 1 / 16, runs)
            values = values * common
        found = estimate_rate(
            T, values, trajectories=trajectories, resamples=1000 if trajectories else 500
        )
        slopes += found.interval[0] <= -0.5 <= found.interval[1]
        floors += found.floor_interval[0] <= 0 <= found.floor_interval[1]
    assert slopes / repetitions >= 0.93
    assert floors / repetitions >= 0.93


def test_correlated_trajectories_need_whole_runs():
    """Runs that differ in scale alone have an exact slope; independent resampling hides it."""
    values = T[:, None] ** -0.5 * np.random.default_rng(0).lognormal(0, 1, 32)
    whole = estimate_rate(T, values, trajectories=True)
    apart = estimate_rate(T, values)
    assert np.ptp(whole.interval) < 1e-9 < 0.1 < np.ptp(apart.interval)


def test_the_same_seed_gives_the_same_answer_and_the_scale_does_not_matter():
    values = sequence(T**-0.5, 16, seed=3)
    first = estimate_rate(T, values, seed=5)
    assert first == estimate_rate(T, values, seed=5)
    assert first != estimate_rate(T, values, seed=6)
    scaled = estimate_rate(T, 1e-9 * values, seed=5)
    assert scaled.interval == pytest.approx(first.interval)
    assert scaled.floor_interval == pytest.approx(first.floor_interval)


def test_the_global_random_stream_is_left_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    estimate_rate(T, sequence(T**-0.5, 16, seed=3))
    assert (np.random.get_state()[1] == before).all()


def test_few_runs_noise_and_divergence_are_said():
    few = estimate_rate(T, sequence(T**-0.5, 7, seed=0))
    assert few.verdict == INCONCLUSIVE
    assert "at least 8 runs, got 7" in few.reason
    products = np.random.default_rng(0).standard_normal((4, 16))
    assert "positive" in estimate_rate(T, products - products.mean() - 0.1).reason
    buried = estimate_rate(T, products - products.mean(1, keepdims=True) + 0.05)
    assert buried.verdict == INCONCLUSIVE
    assert "not clearly above 0" in buried.reason
    assert "diverged" in estimate_rate(T, np.full((4, 8), np.inf)).reason


def test_many_experiments_at_a_time_are_fitted_as_one_by_one():
    values = np.stack([sequence(T**-0.5, 16, seed) for seed in range(3)])
    together = fit_power(T, values, seed=7)
    assert together.slope.shape == (3,)
    for k in range(3):
        alone = estimate_rate(T, values[k], seed=7)
        assert together.slope[k] == pytest.approx(alone.slope)
        assert (together.low[k], together.high[k]) == pytest.approx(alone.interval)
        assert (together.floor_low[k], together.floor_high[k]) == pytest.approx(
            alone.floor_interval
        )
        assert together.shows(0.5)[k] == (alone.verdict == REACHED)


def rate(verdict, slope=-0.5):
    return Rate(slope, (slope, slope), 0.0, (0.0, 0.0), verdict, f"it is {verdict}")


@pytest.mark.parametrize(
    ("far", "near", "verdict"),
    [
        (REACHED, REACHED, REACHED),
        (REACHED, SLOWER, SLOWER),
        (INCONCLUSIVE, SLOWER, SLOWER),
        (REACHED, INCONCLUSIVE, INCONCLUSIVE),
    ],
)
def test_the_slowest_start_counts(far, near, verdict):
    found, reason = judge({"far": rate(far), "near": rate(near)}, 3.0)
    assert found == verdict
    assert verdict in reason


@pytest.mark.parametrize("verdict", [REACHED, SLOWER])
def test_no_verdict_before_the_window(verdict):
    found, reason = judge({"far": rate(verdict)}, 2.9)
    assert found == INCONCLUSIVE
    assert "last 2.9 time constants, a rate needs 3" in reason
    assert judge({"far": rate(verdict)}, np.nan) == (
        INCONCLUSIVE,
        f"whether the rate is in force yet is unknown (from far, it is {verdict})",
    )


def test_divergence_needs_no_window():
    diverged = estimate_rate(T, np.full((4, 8), np.inf))
    assert judge({"far": diverged, "near": rate(REACHED)}, np.nan)[0] == SLOWER


def test_the_gate_counts_time_constants_on_a_quadratic():
    """Of F = mu w^2 / 2 the number is 3/4 eta T mu, wherever w_0 is."""
    for mu, w in ((1.0, 1.0), (0.1, 7.0)):
        found = time_constants_of_descent(mu * w**2 / 2, (mu * w) ** 2, 12.0)
        assert found == pytest.approx(9 * mu)
    assert time_constants_of_descent(0.0, 0.0, 1.0) == np.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: judge({}, 3), "rates must hold at least one start"),
        (lambda: judge({"far": rate(REACHED)}, 3, fewest=-1), "fewest must be at least 0, got -1"),
        (lambda: time_constants_of_descent(-1, 1, 1), "gap must be at least 0, got -1"),
        (lambda: time_constants_of_descent(1, np.nan, 1), "squared_gradient must be at least 0"),
        (lambda: time_constants_of_descent(1, 1, 0), "travel must be positive, got 0"),
    ],
)
def test_errors_of_the_gate(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": [1, 2]}, r"steps must be a row of at least 3 numbers, got shape \(2,\)"),
        ({"steps": [1, 3, 2, 4]}, r"positive and increasing, got \[1.0, 3.0, 2.0, 4.0\]"),
        ({"values": np.ones(4)}, r"values must have shape \(4, runs\), got \(4,\)"),
        ({"values": np.ones((4, 0))}, "values must hold at least one run"),
        ({"exponent": 0}, "exponent must be positive, got 0"),
        ({"tolerance": -1}, "tolerance must be at least 0, got -1"),
        ({"largest_floor": -1}, "largest_floor must be at least 0, got -1"),
        ({"confidence": 1}, r"confidence must be in \(0, 1\), got 1"),
        ({"resamples": 10}, "resamples must be at least 100, got 10"),
    ],
)
def test_errors(change, message):
    arguments = {"steps": T, "values": np.ones((4, 8))} | change
    with pytest.raises(ValueError, match=message):
        estimate_rate(**arguments)

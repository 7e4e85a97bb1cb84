import numpy as np
import pytest
from scipy import stats

from theory.claims.power import CLAIMS, REPETITIONS, rejected, wilson
from theory.rate_test.controls import CONTROLS


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_twenty_repetitions_are_judged_rightly(control):
    verdicts = rejected(control, 20, 64, np.random.default_rng(3))
    assert verdicts.shape == (20,)
    assert (verdicts != control.works).mean() >= 0.9


def test_the_same_seed_gives_the_same_verdicts():
    control = next(control for control in CONTROLS if control.canary)
    runs = [rejected(control, 20, 8, np.random.default_rng(0)) for _ in range(2)]
    assert (runs[0] == runs[1]).all()


def test_a_test_of_few_seeds_has_less_power():
    """Three seeds reject an optimizer that works more often than 64 do: 20 repetitions each."""
    shares = [
        rejected(CONTROLS[1], 20, seeds, np.random.default_rng(0)).mean() for seeds in (3, 64)
    ]
    assert shares[0] > shares[1]


@pytest.mark.parametrize(("successes", "n"), [(0, 20), (190, 200), (200, 200)])
def test_binomial_intervals(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx(expected, abs=1e-4)


def test_at_least_200_repetitions_of_each_are_claimed():
    assert REPETITIONS >= 200
    assert [claim.name for claim in CLAIMS] == ["power-correct", "power-broken"]

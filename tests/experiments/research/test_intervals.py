"""Intervals of paired differences."""

import numpy as np
import pytest
from scipy.stats import t

from experiments.research.intervals import Paired, paired


def test_the_interval_is_that_of_a_t_test_of_the_differences():
    first, second = [0.90, 0.93, 0.91, 0.95], [0.88, 0.92, 0.92, 0.91]
    d = np.subtract(first, second)
    expected = t.ppf(0.975, 3) * d.std(ddof=1) / 2
    found = paired(first, second)
    assert found.mean == pytest.approx(d.mean()) and found.n == 4
    assert found.half_width == pytest.approx(expected)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    n, trials = 5, 2000
    covered = 0
    for difference in rng.normal(0.3, 1.0, (trials, n)):
        found = paired(difference.tolist(), [0.0] * n)
        covered += abs(found.mean - 0.3) <= found.half_width
    error = (0.95 * 0.05 / trials) ** 0.5
    assert abs(covered / trials - 0.95) < 4 * error


def test_one_seed_has_no_interval():
    assert paired([2.0], [1.0]) == Paired(1.0, None, 1)
    assert paired([2.0], [1.0]).text() == "+1.00"


@pytest.mark.parametrize("second", [[], [1.0]])
def test_other_seeds_are_refused(second):
    with pytest.raises(ValueError, match="must hold the same seeds, got"):
        paired([1.0, 2.0] if second else [], second)

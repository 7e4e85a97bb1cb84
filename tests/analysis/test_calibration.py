"""Intervals against scipy's, and calibration against a literal loop."""

import math

import pytest
import torch
from scipy.stats import binomtest

from interpretable_sgd.analysis import calibration, wilson_interval


@pytest.mark.parametrize(("successes", "total"), [(0, 5), (3, 7), (50, 50), (900, 1000)])
def test_intervals_are_wilson_s(successes, total):
    expected = binomtest(successes, total).proportion_ci(method="wilson")
    assert wilson_interval(successes, total) == pytest.approx((expected.low, expected.high))


def test_nothing_seen_has_no_interval():
    assert all(math.isnan(end) for end in wilson_interval(0, 0))


def test_bins_are_those_of_a_literal_loop():
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(500, generator=generator)
    right = torch.rand(500, generator=generator) < probability**2
    found = calibration(probability, right, bins=5)
    gap = 0.0
    for b in range(5):
        inside = [n for n in range(500) if b / 5 < float(probability[n]) <= (b + 1) / 5]
        assert found.count[b] == len(inside)
        mean = sum(float(probability[n]) for n in inside) / len(inside)
        share = sum(bool(right[n]) for n in inside) / len(inside)
        assert float(found.confidence[b]) == pytest.approx(mean)
        assert float(found.accuracy[b]) == pytest.approx(share)
        gap += len(inside) / 500 * abs(mean - share)
    assert found.expected_error == pytest.approx(gap)


def test_probabilities_of_zero_and_one_and_empty_bins():
    found = calibration(torch.tensor([0.0, 1.0]), torch.tensor([False, True]), bins=4)
    assert found.count.tolist() == [1, 0, 0, 1] and found.expected_error == 0
    assert found.accuracy[1:3].isnan().all()

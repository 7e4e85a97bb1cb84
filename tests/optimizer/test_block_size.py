"""The narrowing block and the shrink."""

import math
from itertools import pairwise

import pytest
import torch

from interpretable_sgd.optimizer.block_size import narrowed, progress, soft_threshold


def test_limits_whole_row_at_the_start_block_at_the_horizon_and_after():
    assert progress(0, 10) == 0 and progress(10, 10) == 1 and progress(11, 10) == 1
    assert narrowed(64, 5, 0.0) == 64 and narrowed(64, 5, 1.0) == 5


def test_limit_without_a_horizon_the_block_is_narrow_from_the_start():
    assert [progress(step, 0) for step in (0, 1, 100)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("block", [64, 64.5, 1000])
def test_limit_a_block_as_large_as_the_row_does_not_narrow(block):
    for p in range(11):
        assert block <= narrowed(64, block, p / 10) == pytest.approx(block, rel=1e-15)


def test_the_block_narrows_geometrically():
    sizes = [narrowed(96, 1.5, progress(step, 20)) for step in range(21)]
    ratios = [after / before for before, after in pairwise(sizes)]
    assert all(math.isclose(ratio, (1.5 / 96) ** (1 / 20), rel_tol=1e-12) for ratio in ratios)
    assert all(isinstance(size, float) for size in sizes)


def test_fractional_blocks_reach_their_size():
    assert narrowed(8, 0.25, 1.0) == 0.25 and narrowed(4, 0.25, 0.5) == 1.0


def test_the_shrink_is_the_proximal_step_of_a_weighted_l1():
    """argmin_v (v - w)^2 / 2 + a |v|, by search on a grid of step 1e-4."""
    weight = torch.tensor([1.0, -1.0, 0.3, -0.2, 0.0]).double()
    amount = torch.tensor([0.25, 0.0, 0.3, 0.5, 0.1]).double()
    grid = torch.linspace(-1.5, 1.5, 30_001).double()[:, None]
    objective = (grid - weight).square() / 2 + amount * grid.abs()
    best = grid[objective.argmin(0), 0]
    torch.testing.assert_close(soft_threshold(weight, amount), best, rtol=0, atol=1e-4)


def test_limits_of_the_shrink():
    weight = torch.tensor([0.7, -0.1, 0.0])
    assert torch.equal(soft_threshold(weight, torch.zeros(3)), weight)
    assert not soft_threshold(weight, weight.abs()).any()
    assert not soft_threshold(weight, torch.full((3,), 9.0)).any()

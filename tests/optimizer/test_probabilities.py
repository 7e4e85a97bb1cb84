"""Probabilities: water-filling, the literal ones of Algorithm 3, the floor. Properties 1 to 4."""

import math
from itertools import pairwise

import pytest
import torch

from interpretable_sgd.optimizer.probabilities import (
    explore,
    fill,
    paper_probabilities,
    waterfill,
)
from tests import literal

SPARSITIES = (-1e9, -3.0, -1.0, 0.0, 0.5, 0.9, 0.99, 0.9999, 1)
BLOCKS = (0.3, 1, 2.5, 3, 7, 11.999, 12, 40)


def rows(kind: str, count: int = 40, size: int = 12) -> torch.Tensor:
    """Constants of several kinds, (count, size), seeded."""
    generator = torch.Generator().manual_seed(3)
    normal = torch.randn(count, size, generator=generator, dtype=torch.float64)
    return {
        "chi2": normal.square(),
        "half zero": normal.clamp(min=0).square(),
        "nearly equal": 1 + 1e-9 * normal.abs(),
        "ties": (2 * normal).round().square(),
        "wide": (20 * normal).exp(),
        "equal": torch.ones(count, size, dtype=torch.float64),
    }[kind]


KINDS = ("chi2", "half zero", "nearly equal", "ties", "wide", "equal")


# Limits.


def test_3_limit_uniform_as_gamma_vanishes():
    pi = waterfill(rows("chi2"), 3, -1e12)
    torch.testing.assert_close(pi, torch.full_like(pi, 3 / 12), rtol=0, atol=1e-9)


def test_3_limit_equal_constants_give_equal_probabilities():
    for sparsity in SPARSITIES:
        pi = waterfill(rows("equal"), 3, sparsity)
        torch.testing.assert_close(pi, torch.full_like(pi, 0.25), rtol=0, atol=1e-15)


def test_3_limit_the_whole_row_when_the_block_is_as_large():
    zeros = rows("half zero")
    for sparsity in SPARSITIES:
        for block in (12, 12.5, 40):
            assert (waterfill(rows("chi2"), block, sparsity) == 1).all()
            assert torch.equal(waterfill(zeros, block, sparsity), (zeros > 0).double())


def test_3_limit_proportional_to_the_constants_at_s_0_while_unsaturated():
    L = rows("chi2")
    L = L + L.sum(-1, keepdim=True)
    pi = waterfill(L, 1, 0)
    assert (pi < 1).all()
    torch.testing.assert_close(pi, L / L.sum(-1, keepdim=True), rtol=1e-13, atol=0)


def test_3_limit_top_k_with_ties_shared_at_s_1():
    pi = waterfill(torch.tensor([3.0, 2, 2, 2, 1], dtype=torch.float64), 2, 1)
    expected = torch.tensor([1, 1 / 3, 1 / 3, 1 / 3, 0], dtype=torch.float64)
    torch.testing.assert_close(pi, expected, rtol=0, atol=1e-15)
    L = rows("chi2")
    top = torch.zeros_like(L).scatter(-1, L.topk(3).indices, 1.0)
    assert torch.equal(waterfill(L, 3, 1), top)
    half = waterfill(L, 3.5, 1)
    assert torch.equal(half.sort(-1, descending=True).values[:, 3], torch.full((40,), 0.5).double())


@pytest.mark.parametrize("block", [1, 3, 7])
@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.99, 0.999])
def test_3_distance_to_top_k_is_at_most_2_d_minus_k_r_to_the_gamma(block: int, sparsity: float):
    L = rows("chi2").sort(-1, descending=True).values
    ratio = L[:, block] / L[:, block - 1]
    bound = 2 * (12 - block) * ratio ** (1 / (1 - sparsity))
    top = (torch.arange(12) < block).double()
    distance = (waterfill(L, block, sparsity) - top).abs().sum(-1)
    assert (distance <= bound * (1 + 1e-9) + 1e-12).all()


def test_3_s_near_1_is_continuous_with_s_1():
    L = rows("chi2")
    assert (waterfill(L, 3, 1 - 1e-9) - waterfill(L, 3, 1)).abs().max() < 1e-12


# Values.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", [1e-16, 1e-11, 1e-9, 1e-7, 1e-5, 1e-3])
def test_3_ties_are_shared_however_near_s_is_to_1(distance: float, dtype: torch.dtype) -> None:
    """Powers of 1e16 are too coarse to count three ties for two places among."""
    constants = torch.tensor([1e-3, 1e-3, 1e-3, 2.0, 6.0], dtype=dtype)
    pi = waterfill(constants, 4, 1 - distance)
    torch.testing.assert_close(pi, torch.tensor([2 / 3, 2 / 3, 2 / 3, 1, 1], dtype=dtype))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_1_a_block_sums_to_k_or_to_its_positive_constants(kind, sparsity):
    L = rows(kind)
    for block in BLOCKS:
        pi = waterfill(L, block, sparsity)
        wanted = (L > 0).sum(-1).double().clamp(max=block)
        assert (pi.sum(-1) - wanted).abs().max() < 1e-12, block
        assert (pi >= 0).all() and (pi <= 1).all()
        assert (pi[L == 0] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sparsity", [-3.0, 0.0, 0.5, 0.9, 1])
def test_the_water_filling_of_the_twin(kind, sparsity):
    L = rows(kind)
    for block in BLOCKS:
        expected = [literal.waterfilled_row(row, block, sparsity) for row in L.tolist()]
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(waterfill(L, block, sparsity), expected, rtol=1e-10, atol=1e-13)


def test_1_rows_of_zeros_select_nothing():
    for sparsity in SPARSITIES:
        assert torch.equal(waterfill(torch.zeros(2, 5), 2, sparsity), torch.zeros(2, 5))
    assert torch.equal(paper_probabilities(torch.zeros(2, 5), 0), torch.zeros(2, 5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_2_monotone_in_the_constants(kind, sparsity):
    L = rows(kind).sort(-1).values
    for block in BLOCKS:
        assert (waterfill(L, block, sparsity).diff(dim=-1) >= -1e-14).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_2_permutation_equivariant(kind, sparsity):
    L = rows(kind)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    permuted = waterfill(L[:, order], 2.5, sparsity)
    torch.testing.assert_close(permuted, waterfill(L, 2.5, sparsity)[:, order], rtol=0, atol=1e-13)


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("scale", [2.0**-600, 2.0**-1, 2.0**600])
def test_2_invariant_under_scaling(sparsity, scale):
    """Logs of 2^600 carry an error of 1e-13, which gamma = 1e4 multiplies."""
    L = rows("chi2")
    scaled, plain = waterfill(L * scale, 3, sparsity), waterfill(L, 3, sparsity)
    gamma = 1e4 if sparsity == 1 else 1 / (1 - sparsity)
    torch.testing.assert_close(scaled, plain, rtol=0, atol=1e-13 * max(1, gamma))


@pytest.mark.parametrize("sparsity", [*SPARSITIES, 1 - 1e-4])
@pytest.mark.parametrize("block", [0.5, 3, 50])
def test_2_finite_from_1e_minus_300_to_1e300(sparsity, block):
    exponents = torch.linspace(-300, 300, 61, dtype=torch.float64)
    L = torch.stack([10**exponents, 10 ** exponents.flip(0)])
    pi = waterfill(L, block, sparsity)
    assert pi.isfinite().all() and (pi >= 0).all() and (pi <= 1).all()
    assert (pi.sum(-1) - block).abs().max() < 1e-12


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_2_float32_keeps_the_sum_to_rounding(sparsity):
    L = rows("wide").float().clamp(1e-38, 1e38)
    pi = waterfill(L, 5, sparsity)
    assert pi.dtype == torch.float32 and pi.isfinite().all()
    assert (pi.sum(-1) - 5).abs().max() < 1e-5


def test_blocks_are_independent_of_their_neighbours():
    L = torch.stack([rows("chi2"), rows("wide")])
    pi = waterfill(L, 3, 0.5)
    assert torch.equal(pi[1], waterfill(rows("wide"), 3, 0.5))
    assert torch.equal(pi[0, 7], waterfill(rows("chi2")[7], 3, 0.5))


# Algorithm 3 as printed.


@pytest.mark.parametrize("sparsity", [-3.0, 0.0, 0.25, 0.5, 0.9])
def test_4_literal_probabilities_sum_to_exp_1_minus_gamma_renyi(sparsity):
    """sum pi = sum rho^gamma = exp((1 - gamma) H_gamma): at most 1 for every s >= 0."""
    L = rows("half zero")[:, None, :].expand(-1, 4, -1) * torch.arange(1, 5)[:, None]
    pi = paper_probabilities(L, sparsity)
    gamma = 1 / (1 - sparsity)
    rho = L / L.sum((-2, -1), keepdim=True)
    # H_gamma = log(sum rho^gamma) / (1 - gamma), evaluated in logs.
    log_sum = torch.logsumexp(gamma * rho.log().flatten(1), -1)
    torch.testing.assert_close(pi.sum((-2, -1)), log_sum.exp(), rtol=1e-12, atol=0)
    if sparsity >= 0:
        assert (pi.sum((-2, -1)) <= 1 + 1e-12).all()


def test_4_literal_probabilities_at_s_0_sum_to_one_over_the_layer():
    L = rows("chi2").view(2, 20, 12)
    pi = paper_probabilities(L, 0)
    torch.testing.assert_close(pi.sum((-2, -1)), torch.ones(2).double(), rtol=0, atol=1e-14)
    torch.testing.assert_close(pi, L / L.sum((-2, -1), keepdim=True), rtol=1e-14, atol=0)


def test_4_literal_probabilities_decrease_in_s_and_vanish_instead_of_tending_to_top_k():
    L = rows("chi2").view(1, 40, 12)
    sums = [float(paper_probabilities(L, s).sum()) for s in (-1.0, 0.0, 0.25, 0.5, 0.75, 0.9, 0.99)]
    assert all(after < before for before, after in pairwise(sums))
    assert sums[-1] < 1e-9
    assert float(paper_probabilities(L, 0.99).max()) < 1e-9 < float(waterfill(L, 1, 0.99).max())


def test_4_one_dominant_constant_is_the_only_way_to_select_surely():
    pi = paper_probabilities(torch.tensor([[5.0, 0.0], [0.0, 0.0]]), 0.9)
    assert torch.equal(pi, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def test_4_the_literal_row_is_water_filling_with_k_1_and_s_0():
    L = rows("chi2")[:, None]
    torch.testing.assert_close(paper_probabilities(L, 0), waterfill(L, 1, 0), rtol=1e-13, atol=0)


def test_the_literal_probabilities_of_the_twin():
    L = rows("half zero").view(4, 10, 12)
    for sparsity in (-1.0, 0.0, 0.5):
        twin = [literal.paper_probabilities(layer, sparsity) for layer in L.tolist()]
        expected = torch.tensor(twin, dtype=torch.float64)
        torch.testing.assert_close(paper_probabilities(L, sparsity), expected, rtol=1e-12, atol=0)


# The floor.


def test_the_floor_keeps_the_sum_and_a_least_probability():
    pi = waterfill(rows("chi2"), 3, 1)
    for floor in (0.0, 0.05, 0.9):
        mixed = explore(pi, floor, 3)
        torch.testing.assert_close(mixed.sum(-1), pi.sum(-1), rtol=0, atol=1e-13)
        assert mixed.min() >= floor * 3 / 12 * (1 - 1e-15)
        expected = (1 - floor) * pi + floor * 3 / 12
        torch.testing.assert_close(mixed, expected, rtol=0, atol=1e-15)
    assert torch.equal(explore(pi, 0.0, 3), pi)


def test_the_floor_of_a_block_beyond_the_row_is_one():
    pi = torch.tensor([1.0, 0.0])
    torch.testing.assert_close(explore(pi, 0.5, 40), torch.tensor([1.0, 0.5]))
    assert math.isclose(float(explore(pi, 0.5, 40).max()), 1.0)


def test_what_is_left_of_a_block_goes_to_silent_coordinates_of_its_row():
    """Rows of their own: two, one and no silent coordinates, and a block wider than the row."""
    pi = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.75, 0.0], [0.5, 0.5, 1.0]])
    constants = torch.tensor([[9.0, 0.0, 0.0], [0.5, 3.0, 0.0], [1.0, 1.0, 2.0]])
    filled = torch.tensor([[1.0, 0.5, 0.5], [0.5, 0.75, 0.75], [0.5, 0.5, 1.0]])
    assert torch.equal(fill(pi, constants, block_size=2), filled)
    whole = torch.tensor([[1.0, 1.0, 1.0], [0.5, 0.75, 1.0], [0.5, 0.5, 1.0]])
    assert torch.equal(fill(pi, constants, block_size=7), whole)
    assert torch.equal(fill(pi[:1], constants[:1], block_size=1), pi[:1])
    of_samples = [t.expand(2, -1, -1) for t in (pi, constants)]
    assert torch.equal(fill(*of_samples, block_size=2), filled.expand(2, -1, -1))

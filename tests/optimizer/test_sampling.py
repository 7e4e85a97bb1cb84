"""Sampling: counter-based draws have the marginals asked for. Properties 5 and 8.

Bonferroni: 24 coordinates at alpha = 1e-3 give |z| < 4.1 (theory, property 5), n = 2e5 draws.
"""

import pytest
import torch
from scipy import stats

from interpretable_sgd.optimizer.sampling import bernoulli, hash_key, uniform

DRAWS = 200_000
Z = 4.1


def marginals(seed: int = 0) -> torch.Tensor:
    """24 probabilities with sum 7.5, one of them 0 and one of them 1."""
    generator = torch.Generator().manual_seed(seed)
    pi = torch.rand(24, generator=generator, dtype=torch.float64)
    pi[3], pi[17] = 0, 1
    free = torch.ones(24, dtype=torch.bool)
    free[[3, 17]] = False
    pi[free] *= 6.5 / pi[free].sum()
    assert (pi <= 1).all()
    return pi


def unit(pi_u: torch.Tensor, pi_v: torch.Tensor, draws: int, key: int) -> torch.Tensor:
    """Rank-one masks (draws, O, M) from two bernoulli draws."""
    u = bernoulli(pi_u.expand(draws, -1), hash_key(key, 0))
    v = bernoulli(pi_v.expand(draws, -1), hash_key(key, 1))
    return u[:, :, None] & v[:, None, :]


UNIT = torch.tensor([0.9, 0.4, 0.25, 1.0]).double(), torch.linspace(0.05, 0.95, 6).double()


def draw(kind: str, draws: int = DRAWS, key: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks (draws, 24) and their marginals (24)."""
    if kind == "unit":
        u, v = UNIT
        return unit(u, v, draws, key).flatten(1), torch.outer(u, v).flatten()
    pi = marginals()
    return bernoulli(pi.expand(draws, -1), key), pi


KINDS = ("bernoulli", "unit")


def z_of_mean(samples: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """z of column means; 0 where the samples do not vary and agree."""
    mean, error = samples.mean(0), samples.std(0) / len(samples) ** 0.5
    difference = mean - expected
    return torch.where((error == 0) & (difference.abs() < 1e-12), 0, difference / error)


# Limits.


def test_probability_0_never_and_1_always():
    for key in range(50):
        assert not bernoulli(torch.zeros(3, 7), hash_key(key)).any()
        assert bernoulli(torch.ones(3, 7), hash_key(key)).all()


def test_an_empty_shape_has_an_empty_mask():
    assert bernoulli(torch.zeros(0, 4), 1).shape == (0, 4)
    assert uniform(torch.Size([0]), 1).shape == (0,)


# The generator.


def test_the_hash_is_splitmix64():
    """First outputs of the reference generator from state 0 and 1 (Steele, Lea, Flood 2014)."""
    assert hash_key(0) == 0xE220A8397B1DCDAF
    assert hash_key(1) == 0x910A2DEC89025CC1
    state = uniform(torch.Size([2]), key=0).double() * 2**24
    assert state.tolist() == [0xE220A8397B1DCDAF >> 40, 0x6E789E6AA1B965F4 >> 40]
    # seed 1234567, as Rosetta Code has it: a key counts, and is added
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    state = uniform(torch.Size([3]), key=1234567).double() * 2**24
    assert state.tolist() == [number >> 40 for number in published]


def test_keys_differ_by_every_word_and_by_their_order():
    words = [(seed, step, stream) for seed in range(8) for step in range(16) for stream in range(8)]
    keys = {hash_key(*w) for w in words}
    assert len(keys) == len(words)
    assert hash_key(1) != hash_key(1, 0) and hash_key(-1) == hash_key(2**64 - 1)
    assert all(0 <= key < 2**64 for key in keys)


def test_the_same_key_is_the_same_mask_and_consumes_no_global_stream():
    pi, before = torch.full((5, 9), 0.5), torch.get_rng_state()
    assert torch.equal(bernoulli(pi, hash_key(3, 1)), bernoulli(pi, hash_key(3, 1)))
    assert not torch.equal(bernoulli(pi, hash_key(3, 1)), bernoulli(pi, hash_key(3, 2)))
    assert torch.equal(before, torch.get_rng_state())


def test_uniform_numbers_are_uniform():
    """n = 2e5 in [0, 1), 24 bits: Kolmogorov-Smirnov at 1e-3; chi-squared of the lowest byte."""
    numbers = uniform(torch.Size([DRAWS]), hash_key(5))
    assert numbers.dtype == torch.float32 and numbers.min() >= 0 and numbers.max() < 1
    assert stats.kstest(numbers.double().numpy(), "uniform").pvalue > 1e-3
    low = (numbers.double() * 2**24).long() % 256
    assert stats.chisquare(low.bincount(minlength=256).numpy()).pvalue > 1e-3


def test_steps_and_streams_are_uncorrelated():
    """Correlation of n = 2e5 uniforms of neighbouring keys: |r| sqrt(n) < 4.1 for 6 pairs."""
    keys = [hash_key(0, 0, 0), hash_key(0, 1, 0), hash_key(0, 0, 1), hash_key(1, 0, 0)]
    numbers = torch.stack([uniform(torch.Size([DRAWS]), key).double() for key in keys])
    z = (torch.corrcoef(numbers) - torch.eye(4)) * DRAWS**0.5
    assert z.abs().max() < Z
    lagged = torch.corrcoef(torch.stack([numbers[0, 1:], numbers[0, :-1]]))[0, 1] * DRAWS**0.5
    assert abs(lagged) < Z


def test_5_marginals_over_steps():
    """One mask per step, as an optimizer draws them: n = 4000 steps, 24 coordinates."""
    pi = marginals()
    masks = torch.stack([bernoulli(pi, hash_key(0, step, 2)) for step in range(4000)]).double()
    assert z_of_mean(masks, pi).abs().max() < Z


# Marginals and moments.


@pytest.mark.parametrize("kind", KINDS)
def test_5_marginals(kind):
    masks, pi = draw(kind)
    error = (pi * (1 - pi) / DRAWS).sqrt()
    difference = masks.double().mean(0) - pi
    assert (difference[error == 0] == 0).all()
    z = (difference / error)[error > 0]
    assert z.abs().max() < Z, z


@pytest.mark.parametrize("kind", KINDS)
def test_8_second_moments_depend_on_the_marginals_alone(kind):
    """E|Qg|^2 = sum pi g^2 and E|Qg / pi|^2 = sum g^2 / pi, n = 2e5, 2 tests of each sampler."""
    masks, pi = draw(kind)
    g = torch.linspace(-2, 3, 24, dtype=torch.float64)
    g[pi == 0] = 0
    scale = torch.where(pi > 0, 1 / pi, 0)
    biased = (masks * g.square()).sum(-1)
    unbiased = (masks * (g * scale).square()).sum(-1)
    expected = torch.stack([(pi * g.square()).sum(), (g.square() * scale).sum()])
    z = z_of_mean(torch.stack([biased, unbiased], -1), expected)
    assert z.abs().max() < Z, z


def test_8_but_covariances_differ_between_samplers():
    """Equal marginals, so Theorems A to F hold alike; the mask sizes' variances do not agree."""
    u, v = UNIT
    pi = torch.outer(u, v).flatten().expand(DRAWS, -1)
    sizes = bernoulli(pi, 1).sum(-1), unit(u, v, DRAWS, 1).flatten(1).sum(-1)
    independent, product = (float(size.double().var()) for size in sizes)
    assert independent < product / 1.3

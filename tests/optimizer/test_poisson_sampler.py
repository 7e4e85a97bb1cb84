"""Poisson batches: p_i ~ Bernoulli(B / n), as Algorithm 3 draws them."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from interpretable_sgd.optimizer.poisson_sampler import PoissonBatchSampler


def joined(sampler: PoissonBatchSampler) -> torch.Tensor:
    """Batches as rows of 0 and 1 over the samples."""
    rows = torch.zeros(len(sampler), sampler.size)
    for row, batch in zip(rows, sampler, strict=True):
        assert len(set(batch)) == len(batch) and batch == sorted(batch)
        row[batch] = 1
    return rows


# Limits.


def test_limit_a_batch_as_large_as_the_data_set_is_the_data_set():
    assert list(PoissonBatchSampler(7, 7, steps=3)) == [list(range(7))] * 3


def test_limit_one_sample():
    assert list(PoissonBatchSampler(1, 1)) == [[0]]


# Values.


@pytest.mark.parametrize("batch_size", [0.5, 10, 40])
def test_every_sample_joins_with_probability_b_over_n_independently(batch_size: float):
    """n = 4000 batches of 50 samples: 50 marginals, the mean size and its variance in |z| < 4.3."""
    steps, size = 4000, 50
    p = batch_size / size
    rows = joined(PoissonBatchSampler(size, batch_size, steps, seed=1, keep_empty=True))
    z = (rows.mean(0) - p) / (p * (1 - p) / steps) ** 0.5
    assert z.abs().max() < 4.3
    sizes = rows.sum(1)
    variance = size * p * (1 - p)
    assert abs((sizes.mean() - batch_size) / (variance / steps) ** 0.5) < 4.3
    # Var of a sample variance: (mu4 - sigma^4) / n, mu4 of a binomial.
    fourth = variance * (1 + 3 * (size - 2) * p * (1 - p))
    assert abs((sizes.var() - variance) / ((fourth - variance**2) / steps) ** 0.5) < 4.3


@pytest.mark.parametrize(
    ("size", "batch_size", "steps"), [(1000, 100, 10), (1001, 100, 11), (10, 2.5, 4), (10, 3, 4)]
)
def test_an_epoch_has_n_over_b_batches(size, batch_size, steps):
    sampler = PoissonBatchSampler(size, batch_size, keep_empty=True)
    assert len(sampler) == steps == len(list(sampler))


def test_empty_batches_are_left_out_unless_asked_for():
    sampler = PoissonBatchSampler(20, 0.5, steps=200, seed=3)
    kept = PoissonBatchSampler(20, 0.5, steps=200, seed=3, keep_empty=True)
    assert all(sampler) and len(list(kept)) == 200
    drawn = list(kept)
    assert list(sampler) == [batch for batch in drawn if batch] != drawn


def test_epochs_and_seeds_are_streams_of_their_own_and_reproducible():
    def batches(seed: int, epoch: int) -> list[list[int]]:
        sampler = PoissonBatchSampler(100, 10, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    before = torch.get_rng_state()
    assert batches(0, 0) == batches(0, 0)
    assert len({str(batches(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert torch.equal(before, torch.get_rng_state())


def test_every_pass_draws_anew_and_set_epoch_goes_back():
    """torch.utils.data.RandomSampler does so too: forgetting set_epoch repeats nothing."""
    sampler = PoissonBatchSampler(100, 10, seed=5)
    passes = [list(sampler) for _ in range(3)]
    assert len({str(batches) for batches in passes}) == 3 == sampler.epoch
    sampler.set_epoch(1)
    assert list(sampler) == passes[1]
    assert list(sampler) == passes[2]
    broken_off = PoissonBatchSampler(100, 10, seed=5)
    next(iter(broken_off))
    assert list(broken_off) == passes[1]


def test_a_data_loader_draws_anew_in_every_epoch():
    data = TensorDataset(torch.arange(50.0))
    loader = DataLoader(data, batch_sampler=PoissonBatchSampler(50, 10))
    first, second = ([batch.tolist() for (batch,) in loader] for _ in range(2))
    assert first != second


def test_ranks_draw_batches_of_their_own():
    """Two ranks' inclusions are uncorrelated: |z| < 4 over 2000 batches of 50 samples."""
    rows = []
    for rank in range(2):
        sampler = PoissonBatchSampler(50, 10, steps=2000, rank=rank, keep_empty=True)
        rows.append(joined(sampler) - 0.2)
    correlation = (rows[0] * rows[1]).mean() / 0.16
    assert abs(correlation) < 4 / (50 * 2000) ** 0.5


def test_the_rank_is_that_of_the_process_group(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        grouped = list(PoissonBatchSampler(100, 10))
    finally:
        torch.distributed.destroy_process_group()
    assert (
        grouped == list(PoissonBatchSampler(100, 10)) == list(PoissonBatchSampler(100, 10, rank=0))
    )
    assert grouped != list(PoissonBatchSampler(100, 10, rank=1))


@pytest.mark.parametrize("seed", [-1, 2**31, 2**40])
def test_any_integer_is_a_seed(seed: int):
    """As torch.manual_seed and the optimizer's own seed accept it."""
    assert len(list(PoissonBatchSampler(10, 5, seed=seed, keep_empty=True))) == 2


def test_a_data_loader_takes_it():
    data = TensorDataset(torch.arange(30.0))
    loader = DataLoader(data, batch_sampler=PoissonBatchSampler(30, 6, seed=2))
    expected = [torch.tensor(batch).float() for batch in PoissonBatchSampler(30, 6, seed=2)]
    for (batch,), wanted in zip(loader, expected, strict=True):
        assert torch.equal(batch, wanted)


# Messages.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), r"size must be at least 1, got 0"),
        ((-3, 1), r"size must be at least 1, got -3"),
        ((10, 0), r"batch_size must be in \(0, size=10\], got 0"),
        ((10, -1), r"batch_size must be in \(0, size=10\], got -1"),
        ((10, 11), r"batch_size must be in \(0, size=10\], got 11"),
        ((10, float("nan")), r"batch_size must be in \(0, size=10\], got nan"),
        ((10, 5, 0), r"steps must be at least 1, got 0"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        PoissonBatchSampler(*arguments)


def test_negative_ranks_are_refused():
    with pytest.raises(ValueError, match="rank must be at least 0, got -1"):
        PoissonBatchSampler(10, 5, rank=-1)


def test_seed_and_epoch_start_at_0_and_one_step_is_enough():
    explicit = PoissonBatchSampler(50, 10, steps=1, seed=0)
    explicit.set_epoch(0)
    assert list(explicit) == list(PoissonBatchSampler(50, 10, steps=1)) != []

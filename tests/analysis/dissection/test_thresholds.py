import pytest
import torch

from interpretable_sgd.analysis.dissection.thresholds import HighestValues


def filled(values, quantile, memory=2**28, seed=0, block=3):
    """From maps (n, u, h, w), added in blocks."""
    n, units = values.shape[:2]
    positions = values[:, 0].numel()
    highest = HighestValues(units, positions, quantile, memory, seed)
    for start in range(0, n, block):
        part = values[start : start + block]
        highest.add(part, range(start, start + len(part)))
    return highest


@pytest.mark.parametrize("quantile", [0.005, 0.01, 0.3, 0.999])
@pytest.mark.parametrize("block", [1, 7])
def test_is_the_order_statistic_exactly(quantile, block):
    values = torch.randn(20, 6, 5, 5)
    values[:, 3] = 0
    values[:, 4] = values[:, 4].clamp(min=0)
    highest = filled(values, quantile, block=block)
    rows = values.movedim(1, 0).flatten(1)
    expected = rows.sort(1, descending=True).values[:, int(quantile * rows.shape[1] + 1e-9)]
    assert torch.equal(highest.thresholds(), expected)
    assert highest.rank_error == 0


def test_at_most_the_quantile_lies_above():
    values = torch.randint(0, 4, (30, 8, 6, 6)).float()
    above = (values > filled(values, 0.2).thresholds()[:, None, None]).float().mean((0, 2, 3))
    assert (above <= 0.2).all()


def test_a_dead_unit_has_an_empty_mask():
    assert filled(torch.zeros(4, 1, 3, 3), 0.1).thresholds() == 0


def test_sampled_rank_has_the_error_that_it_states():
    """1600 units, 4000 positions each, room for 100 of the 400 values above: n = 1600 ranks."""
    values = torch.randn(40, 1600, 10, 10)
    highest = filled(values, 0.1, memory=8 * 1600 * 100, seed=3)
    assert 0 < highest.rate < 0.3
    above = (values > highest.thresholds()[:, None, None]).double().mean((0, 2, 3))
    n, error = len(above), highest.rank_error
    # the order statistic has a bias of at most one rank of the sample
    assert (above.mean() - 0.1).abs() < 3 * error / n**0.5 + 1 / highest.sampled
    # the standard deviation's own standard error is 1 / sqrt(2 n)
    assert abs(above.std() / error - 1) < 3 / (2 * n) ** 0.5 + 0.05


def test_sample_does_not_depend_on_blocks():
    values = torch.randn(40, 2, 10, 10)
    small = 8 * 2 * 100
    found = [filled(values, 0.1, small, block=block).thresholds() for block in (1, 9)]
    assert torch.equal(*found)
    assert not torch.equal(found[0], filled(values, 0.1, small, seed=1).thresholds())


def test_memory_is_bounded_whatever_the_number_of_positions():
    sizes = [HighestValues(16, n, 0.005, memory=2**16)._values.numel() for n in (10**7, 10**12)]
    assert sizes[0] == sizes[1] and 4 * sizes[0] <= 2**16


def test_goes_on_from_its_state():
    values = torch.randn(20, 3, 5, 5)
    whole = filled(values, 0.02)
    first, second = (HighestValues(3, 500, 0.02) for _ in range(2))
    first.add(values[:11], range(11))
    second.load_state_dict(first.state_dict())
    second.add(values[11:], range(11, 20))
    assert torch.equal(second.thresholds(), whole.thresholds())
    assert second.sampled == whole.sampled


@pytest.mark.parametrize("quantile", [0, 1, -0.1, 1.5])
def test_bad_quantile(quantile):
    with pytest.raises(ValueError, match=r"quantile must be between 0 and 1, got "):
        HighestValues(2, 100, quantile)


def test_too_little_memory():
    with pytest.raises(
        ValueError, match="memory must be at least 1024 bytes for 2 units, got 1023"
    ):
        HighestValues(2, 100, 0.1, memory=1023)


def test_nothing_added():
    with pytest.raises(ValueError, match="thresholds need at least one position, got none"):
        HighestValues(2, 100, 0.1).thresholds()


def test_more_added_than_announced():
    highest = HighestValues(1, 10, 0.1)
    highest.add(torch.randn(10, 1, 5, 5), range(10))
    with pytest.raises(
        ValueError, match="positions must be at least the number added, 250: rank 26"
    ):
        highest.thresholds()

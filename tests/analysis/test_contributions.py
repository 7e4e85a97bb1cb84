"""Shares by their three denominators, what they leave, and how many it takes."""

import pytest
import torch

from interpretable_sgd.analysis.contributions import (
    residual,
    residuals,
    shares,
    top_units,
    units_to_reach,
)


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 9, generator=generator, dtype=torch.float64) + 0.3


@pytest.fixture
def biases():
    return torch.randn(40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def literal(row, bias, denominator):
    """Shares of one image, in plain Python."""
    values = [float(value) for value in row]
    total = {
        "faithful": sum(values) + float(bias),
        "signed": sum(values),
        "absolute": sum(abs(value) for value in values),
    }[denominator]
    return [value / total for value in values] if total > 0 else None


@pytest.mark.parametrize("denominator", ["faithful", "signed", "absolute"])
def test_shares_residuals_and_reach_are_those_of_a_literal_loop(parts, biases, denominator):
    got = shares(parts, biases, denominator)
    left, reach = residuals(got, 9), units_to_reach(got, 0.95)
    assert (parts.sum(1) <= 0).any() and (parts.sum(1) > 0).any()
    for n in range(len(parts)):
        expected = literal(parts[n], biases[n], denominator)
        if expected is None:
            assert got[n].isnan().all() and left[n].isnan().all() and reach[n].isnan()
            continue
        assert got[n].tolist() == pytest.approx(expected, abs=1e-12)
        largest = sorted(expected, reverse=True)
        sums = [sum(largest[: k + 1]) for k in range(9)]
        assert left[n].tolist() == pytest.approx([1 - value for value in sums], abs=1e-12)
        first = next((k + 1 for k in range(9) if sums[k] >= 0.95), torch.inf)
        assert reach[n].item() == first


def test_faithful_shares_and_the_bias_make_one(parts, biases):
    faithful = shares(parts, biases)
    logits = parts.sum(1) + biases
    positive = logits > 0
    torch.testing.assert_close(
        (faithful.sum(1) + biases / logits)[positive], torch.ones(int(positive.sum())).double()
    )
    assert faithful[~positive].isnan().all()


def test_signed_shares_make_one_and_absolute_sizes_do(parts):
    positive = parts.sum(1) > 0
    signed = shares(parts, denominator="signed")[positive].sum(1)
    torch.testing.assert_close(signed, torch.ones_like(signed))
    sizes = shares(parts, denominator="absolute").abs().sum(1)
    torch.testing.assert_close(sizes, torch.ones_like(sizes))


def test_denominators_agree_where_all_contributions_are_positive_and_there_is_no_bias(parts):
    positive, nothing = parts.abs(), torch.zeros(len(parts)).double()
    by_name = [
        shares(positive, nothing, name)  # type: ignore[arg-type]
        for name in ("faithful", "signed", "absolute")
    ]
    torch.testing.assert_close(by_name[0], by_name[1])
    torch.testing.assert_close(by_name[1], by_name[2])


def test_the_whole_of_the_units_leaves_only_the_bias():
    parts, biases = torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([1.0])
    faithful = shares(parts, biases)
    assert residual(faithful, 3).item() == 0.25
    assert residual(faithful, 30).item() == 0.25
    assert residual(shares(parts, denominator="signed"), 2).item() == pytest.approx(0, abs=1e-7)


def test_one_unit_that_is_the_score_leaves_nothing():
    one = shares(torch.tensor([[0.0, 3.0, 0.0]]), torch.zeros(1))
    assert residual(one, 1).item() == 0
    assert units_to_reach(one, 1.0).item() == 1


def test_rounding_does_not_cost_a_unit():
    equal = torch.full((1, 10), 0.1)
    assert units_to_reach(equal, 1.0).item() == 10
    assert units_to_reach(equal, 0.5).item() == 5
    below = torch.full((1, 5), 0.7)  # in 32 bits
    assert below.double().sum() < 3.5
    assert units_to_reach(below, 3.5).item() == 5


def test_no_contribution_has_no_shares():
    for denominator in ("faithful", "signed", "absolute"):
        assert shares(torch.zeros(1, 3), torch.zeros(1), denominator).isnan().all()


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"denominator must be one of .* got 'sum'"):
        shares(torch.ones(1, 2), torch.ones(1), "sum")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="biases must be given for faithful shares"):
        shares(torch.ones(1, 2))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        top_units(torch.ones(1, 2), 0)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        residuals(torch.ones(1, 2), 0)
    with pytest.raises(ValueError, match="level must be above 0, got 0"):
        units_to_reach(torch.ones(1, 2), 0)

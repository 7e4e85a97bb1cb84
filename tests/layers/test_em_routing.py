"""EM routing against loops over the formulas of Algorithm 1."""

import math

import pytest
import torch
from torch import nn

from interpretable_sgd import EMRoutingLinear
from interpretable_sgd.layers.em_routing import VARIANCE_FLOOR, em_routing


def by_loops(votes: list[list[float]], iterations: int) -> tuple[list[float], list[list[float]]]:
    """Scalar votes [o][m] -> means [o] and responsibilities [o][m]."""
    outputs, units = range(len(votes)), range(len(votes[0]))
    eps = torch.finfo(torch.float64).eps
    share = [[1 / len(votes)] * len(votes[0]) for _ in outputs]
    mean, variance = [], []
    for t in range(iterations):
        if t:
            density = [
                [
                    math.exp(-((votes[o][m] - mean[o]) ** 2) / (2 * variance[o]))
                    / math.sqrt(variance[o])
                    for m in units
                ]
                for o in outputs
            ]
            share = [
                [density[o][m] / sum(density[p][m] for p in outputs) for m in units]
                for o in outputs
            ]
        total = [sum(share[o]) for o in outputs]
        mean = [sum(share[o][m] * votes[o][m] for m in units) / total[o] for o in outputs]
        centre = [sum(votes[o]) / len(votes[o]) for o in outputs]
        variance = [
            sum(share[o][m] * (votes[o][m] - mean[o]) ** 2 for m in units) / total[o]
            + VARIANCE_FLOOR * sum((v - centre[o]) ** 2 for v in votes[o]) / len(votes[o])
            + eps
            for o in outputs
        ]
    return mean, share


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_equals_loops_over_the_formulas(iterations):
    torch.manual_seed(0)
    votes = torch.randn(4, 9, dtype=torch.float64)
    clusters = em_routing(votes.unsqueeze(-1), iterations)
    means, shares = by_loops(votes.tolist(), iterations)
    torch.testing.assert_close(clusters.means.squeeze(-1), torch.tensor(means).double())
    torch.testing.assert_close(clusters.responsibilities, torch.tensor(shares).double())


def test_one_iteration_is_the_mean_of_the_votes():
    layer = EMRoutingLinear(6, 4, iterations=1)
    x = torch.rand(5, 6)
    expected = nn.functional.linear(x, layer.weight / 6, layer.bias)
    torch.testing.assert_close(layer(x), expected)


def test_agreeing_votes_win_over_outliers():
    votes = torch.tensor([[1.0, 1.1, 0.9, 8.0], [5.0, -5.0, 3.0, 8.1]]).unsqueeze(-1)
    plain, routed = (em_routing(votes, t).means[0].item() for t in (1, 3))
    assert abs(routed - 1) < abs(plain - 1)


def test_responsibilities_of_an_input_sum_to_one():
    layer = EMRoutingLinear(6, 4)
    shares = layer.clusters(torch.rand(5, 6)).responsibilities
    assert shares.shape == (5, 4, 6)
    torch.testing.assert_close(shares.sum(-2), torch.ones(5, 6))


def test_capsules_of_length_one_are_scalar_units():
    scalar, capsule = EMRoutingLinear(6, 4), EMRoutingLinear(6, 4, capsule=(1, 1))
    capsule.weight.data = scalar.weight.data[..., None, None]
    capsule.bias.data = scalar.bias.data[:, None]
    x = torch.rand(2, 3, 6)
    torch.testing.assert_close(capsule(x.unsqueeze(-1)).squeeze(-1), scalar(x))


@pytest.mark.parametrize("capsule", [None, (2, 3)])
def test_gradients(capsule):
    torch.manual_seed(0)
    layer = EMRoutingLinear(5, 3, capsule=capsule, dtype=torch.float64)
    shape = (2, 5) if capsule is None else (2, 5, 2)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, _: layer(x), (x, layer.weight))


def test_outputs_start_at_the_scale_of_a_linear_layer():
    torch.manual_seed(0)
    x = torch.randn(500, 256)
    routed = EMRoutingLinear(256, 50, bias=False, iterations=1)(x).std().item()
    capsules = EMRoutingLinear(256, 50, bias=False, iterations=1, capsule=(8, 4))
    dense = nn.Linear(256, 50, bias=False)(x).std().item()
    assert routed / dense == pytest.approx(1, rel=0.1)
    assert capsules(torch.randn(500, 256, 8)).std().item() / dense == pytest.approx(1, rel=0.1)


def test_state_dict_moves_both_ways():
    routed, dense = EMRoutingLinear(6, 4), nn.Linear(6, 4)
    routed.load_state_dict(dense.state_dict())
    dense.load_state_dict(routed.state_dict())


def test_constant_votes_stay_finite():
    layer = EMRoutingLinear(6, 4)
    x = torch.zeros(2, 6, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.isfinite().all()


def test_errors():
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        EMRoutingLinear(6, 4, iterations=0)
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        em_routing(torch.rand(4, 6, 1), 0)
    with pytest.raises(ValueError, match=r"capsule must hold two positive lengths, got \(0, 2\)"):
        EMRoutingLinear(6, 4, capsule=(0, 2))
    with pytest.raises(ValueError, match=r"inputs that end in \(6,\), got \(2, 5\)"):
        EMRoutingLinear(6, 4)(torch.rand(2, 5))
    with pytest.raises(ValueError, match=r"inputs that end in \(6, 2\), got \(2, 6\)"):
        EMRoutingLinear(6, 4, capsule=(2, 3))(torch.rand(2, 6))

"""Weighted squared gradients: the measures that the theorems bound."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD, gradient_product
from interpretable_sgd.convergence import probabilities, supports

x = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
y = torch.randint(3, (40,), generator=torch.Generator().manual_seed(2))


def full(model):
    return cross_entropy(model(x), y)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


class Routed:
    def __init__(self, layer, support, pi):
        self.units = {layer: SimpleNamespace(support=support, probabilities=pi)}

    def routed_units(self):
        return self.units


def test_weights_are_of_the_routed_layer_alone(net):
    support, pi = torch.rand(3, 16) < 0.3, torch.rand(3, 16)
    routed = Routed("2", support, pi)
    gradients = torch.autograd.grad(full(net), list(net.parameters()))
    squares = [g.double() ** 2 for g in gradients]
    rest = float(sum(s.sum() for s in squares) - squares[2].sum())
    on_support = gradient_product(net, full, weights=supports(net, routed))
    assert on_support == pytest.approx(rest + float(squares[2][support].sum()), rel=1e-5)
    in_pi = gradient_product(net, full, weights=probabilities(net, routed))
    assert in_pi == pytest.approx(rest + float((squares[2] * pi).sum()), rel=1e-5)
    assert on_support < gradient_product(net, full)


@pytest.mark.parametrize("name", ["", "Linear", "weight"])
def test_a_whole_support_is_the_plain_norm_and_a_lone_layer_has_no_name_of_its_own(name):
    layer = nn.Linear(6, 3)
    routed = Routed(name, torch.ones(3, 6).bool(), torch.ones(3, 6))
    assert gradient_product(layer, full, weights=supports(layer, routed)) == pytest.approx(
        gradient_product(layer, full)
    )


def test_the_optimizers_own_units_are_taken(net):
    optimizer = InterpretableSGD(net.parameters(), lr=0.1, block_size=2)
    for _ in range(3):
        optimizer.zero_grad()
        full(net).backward()
        optimizer.step()
    weights = supports(net, optimizer)
    assert set(weights) == {"2.weight"} and weights["2.weight"].shape == (3, 16)
    assert 0 < gradient_product(net, full, weights=weights) <= gradient_product(net, full)


def test_errors(net):
    with pytest.raises(ValueError, match=r"of trained parameters, got '9\.weight'"):
        gradient_product(net, full, weights={"9.weight": torch.ones(1)})
    with pytest.raises(ValueError, match="the routed layer '2' has no probabilities"):
        probabilities(net, Routed("2", torch.ones(3, 16).bool(), None))
    with pytest.raises(ValueError, match="the routed layer 'head' is not in the model"):
        supports(net, Routed("head", torch.ones(3, 16).bool(), torch.ones(3, 16)))

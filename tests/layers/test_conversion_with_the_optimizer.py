"""Routed layers under InterpretableSGD: a routed head routes by itself, so nothing else is masked."""

import warnings

import pytest
import torch
from torch import nn

from interpretable_sgd import InterpretableSGD, route
from tests.models import METHODS


def models() -> tuple[nn.Sequential, nn.Sequential]:
    """Two equal networks with a hidden Linear layer, a convolution and a routed head."""
    pair = []
    for _ in range(3):
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3)
        )
        pair.append(route(layers, k={"4": 5}))
    return pair[0], pair[1]


def test_a_routed_head_is_left_to_itself() -> None:
    ours, plain = models()
    optimizers = (
        InterpretableSGD(ours.parameters(), lr=0.1, momentum=0.9),
        torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9),
    )
    x, y = torch.randn(6, 1, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2])
    with pytest.warns(
        UserWarning, match="found nothing to route: the last layer with weights that ran is '4'"
    ):
        for _ in range(3):
            for model, optimizer in zip((ours, plain), optimizers, strict=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
    pairs = zip(ours.parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(left, right) for left, right in pairs)
    assert optimizers[0].routed_units() == {}


@pytest.mark.parametrize("way", [METHODS[name] for name in ("route", "settle", "shared")])
def test_a_hidden_layer_below_a_routed_head_can_be_routed(way: dict) -> None:
    model, _ = models()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers="2", **way)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(6, 1, 2, 2)).square().sum().backward()
            optimizer.step()
    ((name, units),) = optimizer.routed_units().items()
    assert name == "2" and not units.support.all()

"""NaN and infinity in activations, gradients and weights: statistics are not poisoned."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from tests.models import METHODS, MLP, Batch, train

quiet = pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")
MODES = {name: METHODS[name] for name in ("brake", "form", "route", "shared", "algorithm3")}
modes = pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
poisons = pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf], ids=str)
Poisoned = Callable[[nn.Module, Batch, float], None]


def in_activations(model: nn.Module, batch: Batch, poison: float) -> None:
    x = batch[0].clone()
    x[0, 0] = poison
    cross_entropy(model(x), batch[1]).backward()


def in_gradients(model: nn.Module, batch: Batch, poison: float) -> None:
    (cross_entropy(model(batch[0]), batch[1]) * poison).backward()


def in_weights(model: nn.Module, batch: Batch, poison: float) -> None:
    with torch.no_grad():
        model[2].weight[0, 0] = poison
    cross_entropy(model(batch[0]), batch[1]).backward()


PLACES = {"activations": in_activations, "gradients": in_gradients, "weights": in_weights}
places = pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))


def trained(model: nn.Module, **options) -> InterpretableSGD:
    options = {"lr": 0.1, "momentum": 0.9, "block_size": 3} | options
    optimizer = InterpretableSGD(model.parameters(), **options)
    train(model, optimizer, MLP.batches(2))
    optimizer.zero_grad()
    return optimizer


@quiet
@modes
@places
@poisons
def test_training_goes_on_from_a_kept_model(poison: float, place: Poisoned, mode: dict) -> None:
    """As after a bad batch: weights and momentum are set back by the caller, statistics need not be."""
    model = MLP.model()
    optimizer = trained(model, momentum=0.0, **mode)
    kept = copy.deepcopy(model.state_dict())
    place(model, MLP.batches(1)[0], poison)
    optimizer.step()
    moments = optimizer.state[model[2].weight]["moments"]
    assert moments.isfinite().all() and moments.any()
    assert optimizer.state[model[2].weight].get("input_mean", moments).isfinite().all()
    model.load_state_dict(kept)
    train(model, optimizer, MLP.batches(3))
    (units,) = optimizer.routed_units().values()
    assert units.probabilities.isfinite().all() and units.strength.isfinite().all()
    assert all(parameter.isfinite().all() for parameter in model.parameters())

"""NaN and infinity in activations, gradients and weights: nothing is poisoned, or it is raised."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from tests.models import MLP, Batch, same, train, weights

quiet = pytest.mark.filterwarnings("ignore:masks per sample")
MODES = {
    "shared": {},
    "shared-current": {"mask": "shared-current"},
    "per-sample": {"mask": "per-sample"},
}
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
    options = {"lr": 0.1, "momentum": 0.9, "block_size": 3, "horizon": 0} | options
    optimizer = InterpretableSGD(model.parameters(), **options)
    train(model, optimizer, MLP.batches(2))
    optimizer.zero_grad()
    return optimizer


def held(optimizer: InterpretableSGD) -> list[Tensor]:
    states = optimizer.state.values()
    return [value.clone() for s in states for value in s.values() if isinstance(value, Tensor)]


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
    model.load_state_dict(kept)
    train(model, optimizer, MLP.batches(3))
    (units,) = optimizer.routed_units().values()
    assert units.probabilities.isfinite().all() and units.selected.isfinite().all()
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@quiet
@modes
@places
@poisons
def test_it_may_be_raised_and_then_nothing_is_updated(
    poison: float, place: Poisoned, mode: dict
) -> None:
    model = MLP.model()
    optimizer = trained(model, nonfinite="raise", **mode)
    place(model, MLP.batches(1)[0], poison)
    before, state = weights(model), held(optimizer)
    with pytest.raises(
        FloatingPointError, match=r"^the (gradient|statistic) of .* nothing was updated$"
    ):
        optimizer.step()
    pairs = zip(weights(model), before, strict=True)
    assert all(torch.equal(left.nan_to_num(), right.nan_to_num()) for left, right in pairs)
    assert same(held(optimizer), state)


def test_a_statistic_too_large_for_its_dtype_is_raised() -> None:
    """Activations whose squares overflow, though no gradient does."""
    model = nn.Linear(4, 3)
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, nonfinite="raise", block_size=1)
    x = torch.full((2, 4), 1e30)
    (1e-20 * model(x)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    (1e-3 * model(x)).sum().backward()
    with pytest.raises(FloatingPointError, match="the statistic of Linear is not finite"):
        optimizer.step()


@pytest.mark.parametrize("poison", [1.0, torch.nan])
def test_sparse_gradients_are_looked_into(poison: float) -> None:
    model = nn.Sequential(nn.Embedding(9, 16, sparse=True), nn.Flatten(), nn.Linear(32, 4))
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, nonfinite="raise")
    (cross_entropy(model(torch.tensor([[1, 2]])), torch.tensor([1])) * poison).backward()
    if poison == 1:
        optimizer.step()
        return
    with pytest.raises(FloatingPointError, match=r"of param_groups\[0\]\[0\] is not finite"):
        optimizer.step()


def test_what_is_finite_is_not_raised() -> None:
    results = []
    for nonfinite in ("allow", "raise"):
        model = MLP.model()
        trained(model, nonfinite=nonfinite)
        results.append(weights(model))
    assert same(*results)


def test_layers_behind_frozen_ones_are_looked_into() -> None:
    model = MLP.model()
    model[0].requires_grad_(False)
    optimizer = trained(model, nonfinite="raise")
    in_gradients(model, MLP.batches(1)[0], torch.nan)
    with pytest.raises(FloatingPointError, match=r"^the gradient of 2 is not finite"):
        optimizer.step()

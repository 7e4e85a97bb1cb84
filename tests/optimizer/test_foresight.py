"""Gates are evaluated where the mean gradient leads, so that an emptied connection can come back."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer.probabilities import explore, waterfill
from interpretable_sgd.optimizer.scores import gate
from tests.models import MLP, train

LR, UNITS, CLASSES = 0.1, 8, 2
OPTIONS = {"lr": LR, "block_size": 2, "horizon": 0, "shrink": 0.0}


def state(optimizer: InterpretableSGD, layer: nn.Linear) -> dict[str, Tensor]:
    return optimizer.state[layer.weight]


@pytest.mark.parametrize("maximize", [False, True])
def test_drift_is_the_running_mean_of_the_descent_direction(maximize: bool) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), memory=0.75, maximize=maximize, **OPTIONS)
    expected = torch.zeros_like(model[2].weight)

    def compare() -> None:
        sign = -1 if maximize else 1
        expected.lerp_(sign * model[2].weight.grad, 0.25)
        torch.testing.assert_close(state(optimizer, model[2])["drift"], expected)

    train(model, optimizer, MLP.batches(5), compare)


@pytest.mark.parametrize("foresight", [0, 1, 10.0])
def test_gates_are_those_of_the_foreseen_weights(foresight: float) -> None:
    """pi from W - tau eta gbar and the running mean of the statistic; tau = 0: from W itself."""
    model = MLP.model()
    optimizer = InterpretableSGD(
        model.parameters(), foresight=foresight, floor=0.1, sparsity=0, **OPTIONS
    )
    train(model, optimizer, MLP.batches(5))
    memory = state(optimizer, model[2])
    foreseen = model[2].weight.detach() - foresight * LR * memory["drift"]
    assert foresight == 0 or not torch.equal(foreseen, model[2].weight)
    pi = explore(waterfill(gate(foreseen, memory["moments"][0]), 2, 0), 0.1, 2)
    enough = (foreseen > 0).sum(1) >= 2  # narrower rows share what is left, see `fill`
    assert enough.any()
    found = optimizer.routed_units()["2"].probabilities
    torch.testing.assert_close(found[enough], pi[enough])


def comes_back(foresight: float, seed: int) -> bool:
    """Whether a class selects the one unit that tells it, whose weight was emptied before.

    The first mask, which is uniform, may select it by chance; such seeds say nothing: True only if
    it was selected in most of 60 steps.
    """
    head = nn.Linear(UNITS, CLASSES, bias=False)
    with torch.no_grad():
        head.weight.fill_(0.1)
        head.weight[:, 0] = 0
    optimizer = InterpretableSGD(
        head.parameters(), foresight=foresight, floor=0.0, seed=seed, model=head, **OPTIONS
    )
    labels = torch.arange(32) % CLASSES
    units = torch.full((32, UNITS), 0.5)
    units[:, 0] = 2.0 * (labels == 0)
    for _ in range(60):
        optimizer.zero_grad()
        cross_entropy(head(units), labels).backward()
        optimizer.step()
    return float(optimizer.routed_units()["Linear"].selected[0, 0]) > 0.5


def test_an_emptied_connection_comes_back_when_its_class_needs_it() -> None:
    """20 seeds; without foresight only where the first step's mask, 2 of 8, selected it by chance."""
    seeds = range(20)
    assert all(comes_back(10, seed) for seed in seeds)
    assert sum(comes_back(0, seed) for seed in seeds) < 10


def test_what_is_not_finite_stays_out_of_the_drift() -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), **OPTIONS)
    train(model, optimizer, MLP.batches(2))
    before = state(optimizer, model[2])["drift"].clone()
    model[2].weight.grad = torch.full_like(model[2].weight, torch.nan)
    optimizer.step()
    assert torch.equal(state(optimizer, model[2])["drift"], before)
    assert before.any()


def test_drift_of_half_precision_is_single_and_survives_a_checkpoint() -> None:
    model = MLP.model().bfloat16()
    optimizer = InterpretableSGD(model.parameters(), **OPTIONS)
    train(model, optimizer, [(x.bfloat16(), y) for x, y in MLP.batches(3)])
    drift = state(optimizer, model[2])["drift"]
    assert drift.dtype == torch.float32 and not torch.equal(drift, drift.bfloat16().float())
    again = InterpretableSGD(model.parameters(), **OPTIONS)
    again.load_state_dict(optimizer.state_dict())
    assert torch.equal(state(again, model[2])["drift"], drift)

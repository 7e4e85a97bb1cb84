"""A pool of units against a literal greedy search, and its place in the optimizer."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableAdamW, InterpretableSGD
from interpretable_sgd.optimizer.pool import pool_of

ROWS, UNITS, K = 6, 20, 3
PHASES = {"brake": 4, "form": 8, "settle": 30}


def constants(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(ROWS, UNITS, generator=generator, dtype=torch.float64) ** 3


def covered(gates, pool, k):
    """What the k largest of each row in a pool carry, in shares of the row, by loops."""
    total = 0.0
    for row in gates.tolist():
        total += sum(sorted((row[m] for m in pool), reverse=True)[:k]) / sum(row)
    return total


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [1, 3, 7, 20, 25])
def test_it_is_that_of_a_literal_greedy_search(seed, size):
    gates, pool = constants(seed), list[int]()
    for _ in range(min(size, UNITS)):
        left = [m for m in range(UNITS) if m not in pool]
        pool.append(max(left, key=lambda m: (covered(gates, [*pool, m], K), -m)))
    found = pool_of(gates, torch.ones(ROWS, UNITS), K, size)
    assert found.nonzero().flatten().tolist() == sorted(pool)


def test_it_is_nearly_the_best_of_all():
    """1 - 1/e is proved; of all 1,140 pools of three."""
    gates = constants()
    found = pool_of(gates, torch.ones(ROWS, UNITS), 2, 3).nonzero().flatten().tolist()
    best = max(covered(gates, pool, 2) for pool in itertools.combinations(range(UNITS), 3))
    assert covered(gates, found, 2) >= 0.63 * best


def test_ties_go_to_the_lower_index_and_the_loss_of_a_row_does_not_count():
    assert pool_of(torch.ones(2, 6), torch.ones(2, 6), 2, 3).tolist() == [True] * 3 + [False] * 3
    gates = constants()
    loud = gates * torch.tensor([1e6, 1.0, 1e-3, 1.0, 1.0, 1.0])[:, None]
    ones = torch.ones(ROWS, UNITS)
    assert torch.equal(pool_of(gates, ones, K, 5), pool_of(loud, ones, K, 5))


def test_weights_of_zero_are_worth_nothing_and_stand_in_for_constants_that_are_not_known():
    weight = torch.zeros(1, 4)
    weight[0, 2] = 0.1
    assert pool_of(torch.ones(1, 4), weight, 1, 1).tolist() == [False, False, True, False]
    weight = torch.tensor([[0.1, -0.4, 0.2]])
    assert pool_of(torch.zeros(1, 3), weight, 1, 1).tolist() == [False, True, False]


def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(400, 12, generator=generator, dtype=torch.float64)
    return x, x[:, :6].argmax(1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, UNITS), nn.ReLU(), nn.Linear(UNITS, 6)).double()


def train(model, optimizer, steps, first=0):
    x, y = data()
    for step in range(first, first + steps):
        batch = slice(40 * (step % 10), 40 * (step % 10) + 40)
        optimizer.zero_grad()
        cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    return optimizer


def made(kind, model, **options):
    lr = {"lr": 0.3, "momentum": 0.9} if kind is InterpretableSGD else {"lr": 0.02}
    return kind(model.parameters(), **lr, block_size=K, **PHASES, **options)


@pytest.mark.parametrize("kind", [InterpretableSGD, InterpretableAdamW])
@pytest.mark.parametrize("pool", [3, 7])
def test_all_rows_together_read_no_more(kind, pool):
    model = network()
    optimizer = train(model, made(kind, model, pool=pool), 40)
    (units,) = optimizer.routed_units().values()
    assert optimizer.phase == "settle"
    assert units.support.any(0).sum() <= pool
    assert units.support.sum(1).min() > 0 and units.support.sum(1).max() <= K
    assert torch.equal(model[2].weight != 0, units.support & (model[2].weight != 0))
    free = train(other := network(), made(kind, other), 40).routed_units()["2"]
    assert free.support.any(0).sum() > pool


@pytest.mark.parametrize("kind", [InterpretableSGD, InterpretableAdamW])
def test_a_pool_of_all_units_changes_nothing(kind):
    weights = []
    for pool in (None, UNITS, 99):
        model = network()
        train(model, made(kind, model, pool=pool), 40)
        weights.append(model[2].weight.detach().clone())
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("cut", [15, 25])
def test_a_run_that_is_cut_goes_on_bit_for_bit(cut):
    whole = network()
    train(whole, made(InterpretableSGD, whole, pool=7), 40)
    model = network()
    before = train(model, made(InterpretableSGD, model, pool=7), cut)
    state, weights = copy.deepcopy(before.state_dict()), copy.deepcopy(model.state_dict())
    before.detach()
    model = network()
    model.load_state_dict(weights)
    after = made(InterpretableSGD, model)
    after.load_state_dict(state)
    assert after.param_groups[0]["pool"] == 7
    train(model, after, 40 - cut, first=cut)
    assert torch.equal(model[2].weight, whole[2].weight)


def test_settling_at_once_keeps_to_the_pool():
    model = network()
    optimizer = train(model, made(InterpretableSGD, model, pool=4), 2)
    optimizer.settle()
    train(model, optimizer, 2)
    assert optimizer.phase == "settle"
    assert (model[2].weight != 0).any(0).sum() <= 4

"""Masks shared by the batch: functions of the past, applied to decayed gradients; what is idle shrinks.

A head with a layer below it is known after the first step, which is then the base optimizer's.
"""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableAdamW, InterpretableSGD
from interpretable_sgd.optimizer.layer_gradients import per_sample, positions
from interpretable_sgd.optimizer.probabilities import explore
from interpretable_sgd.optimizer.scores import gate
from interpretable_sgd.optimizer.shared import Moments, _reduce, block_probabilities
from tests.geometries import CASES
from tests.literal import waterfilled_row
from tests.models import CLASSES, MLP, Batch, same, train, weights

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def narrow(model: nn.Module, **options) -> InterpretableSGD:
    """The block has its final size from the first step, which has been taken."""
    chosen = {"lr": 0.1, "block_size": 3, "form": 0, "method": "shared", "shrink": 0} | options
    optimizer = InterpretableSGD(model.parameters(), **chosen)
    train(model, optimizer, MLP.batches(1, seed=5))
    return optimizer


def masked_step(optimizer: InterpretableSGD, model: nn.Module, batch: Batch):
    """Weight before, gradient, and the head's weight after a step."""
    head = model[2].weight
    optimizer.zero_grad()
    cross_entropy(model(batch[0]), batch[1]).backward()
    before, gradient = head.detach().clone(), head.grad.clone()
    optimizer.step()
    return before, gradient, head.detach().clone()


# Probabilities.


@pytest.mark.parametrize("sparsity", [-1.0, 0.0, 0.5, 1])
def test_rows_without_information_are_uniform(sparsity: float) -> None:
    weight = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 1]]).double()
    positive = torch.tensor([[0.0, 0, 0, 0], [4, 3, 2, 1]]).double()
    moments = Moments(0 * positive, positive, 0 * positive)
    pi = block_probabilities(weight, moments, 0.0, 2, sparsity)
    expected = [[0.5] * 4, waterfilled_row([4.0, 3, 2, 1], 2, sparsity)]
    torch.testing.assert_close(pi, torch.tensor(expected).double())
    assert (block_probabilities(weight, moments, 0.0, 9, sparsity) == 1).all()


@pytest.mark.parametrize("reach", [0.0, 0.5, 7.0])
def test_gates_are_those_of_the_foreseen_weights(reach: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, dense, positive, negative = torch.randn(
        4, 3, 9, generator=generator, dtype=torch.float64
    )
    moments = Moments(dense, positive.square(), negative.square())
    pi = block_probabilities(weight, moments, reach, 2, 0)
    for c in range(3):
        G = []
        for m in range(9):
            w = float(weight[c, m] - reach * dense[c, m])
            L = moments.positive[c, m] if w > 0 else moments.negative[c, m]
            G.append(float(w**2 * L))
        torch.testing.assert_close(pi[c], torch.tensor(waterfilled_row(G, 2, 0.0)).double())


def test_silent_connections_share_what_a_row_has_left() -> None:
    """Two of six inputs are ever active: each row spends the rest of its block on the four others."""
    positive = torch.tensor([[1.0, 2.0, 0, 0, 0, 0]])
    moments = Moments(0 * positive, positive, 0 * positive)
    pi = block_probabilities(torch.ones(1, 6), moments, 0.0, 4, 0)
    assert pi.tolist() == [[1.0, 1.0, 0.5, 0.5, 0.5, 0.5]]


@pytest.mark.parametrize("name", CASES, ids=lambda name: name.replace(" ", "_"))
def test_statistics_of_every_layer(name: str) -> None:
    """sum_i delta_ic^2 x_im^2 of either sign, against per-sample sums over positions."""
    layer, x = CASES[name].layer(), CASES[name].input(3)
    z = layer(x).detach()
    delta = torch.randn(z.shape, dtype=torch.float64)
    found, masked = _reduce(layer, x, z, delta, ())
    assert masked is None and found.shape == (2, *layer.weight.flatten(1).shape)
    for part, inputs in zip(found, (x.clamp(min=0), x.clamp(max=0)), strict=True):
        squares = positions(layer, inputs.square(), delta.square())
        torch.testing.assert_close(part, per_sample(*squares).sum(0), rtol=1e-12, atol=1e-12)


# Masks.


def test_update_is_the_mask_times_the_decayed_gradient() -> None:
    model, decay = MLP.model(), 0.3
    optimizer = narrow(model, weight_decay=decay)
    for batch in MLP.batches(5):
        before, gradient, after = masked_step(optimizer, model, batch)
        q = after != before
        expected = before.add(gradient.add(before, alpha=decay), alpha=-0.1)
        assert q.any() and not q.all()
        torch.testing.assert_close(after[q], expected[q], rtol=1e-6, atol=1e-7)


def test_maximize_ascends_inside_the_mask() -> None:
    model = MLP.model()
    optimizer = narrow(model, weight_decay=0.3, maximize=True)
    before, gradient, after = masked_step(optimizer, model, MLP.batches()[0])
    q = after != before
    expected = before.add((-gradient).add(before, alpha=0.3), alpha=-0.1)
    assert q.any() and not q.all()
    torch.testing.assert_close(after[q], expected[q], rtol=1e-6, atol=1e-7)


def test_momentum_accumulates_masked_gradients() -> None:
    model = MLP.model()
    optimizer = narrow(model, momentum=0.9)
    state = optimizer.state[model[2].weight]
    for batch in MLP.batches(4):
        buffer = state["momentum_buffer"].clone()
        before, gradient, after = masked_step(optimizer, model, batch)
        q = (state["momentum_buffer"] - 0.9 * buffer).abs() > 1e-9
        assert q.any() and not q.all()
        expected = 0.9 * buffer + q * gradient
        torch.testing.assert_close(state["momentum_buffer"], expected, rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(after, before - 0.1 * expected)


def test_adamw_decays_everything_and_learns_inside_the_mask() -> None:
    """Its decay is no part of the gradient that is masked."""
    model = MLP.model()
    options = {"method": "shared", "form": 0, "block_size": 3, "shrink": 0}
    optimizer = InterpretableAdamW(model.parameters(), lr=0.01, weight_decay=0.5, **options)
    train(model, optimizer, MLP.batches(1))
    mean = optimizer.state[model[2].weight]["exp_avg"].clone()
    _, gradient, _ = masked_step(optimizer, model, MLP.batches()[1])
    change = optimizer.state[model[2].weight]["exp_avg"] - 0.9 * mean
    q = change.abs() > 1e-9
    assert q.any() and not q.all()
    torch.testing.assert_close(change, 0.1 * q * gradient, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("horizon", [1, 4])
def test_the_block_narrows_geometrically(horizon: int) -> None:
    """K_t = M^(1 - p) K^p, p = min(1, t / H): the mean size of many masks, n = 100 seeds."""
    sizes = torch.zeros(5)
    for seed in range(100):
        torch.manual_seed(0)
        layer = nn.Linear(20, 2, bias=False).double()
        options = {"method": "shared", "form": horizon, "block_size": 3, "shrink": 0}
        optimizer = InterpretableSGD(layer.parameters(), lr=1e-6, seed=seed, **options)
        x, y = torch.rand(8, 20).double() + 0.1, torch.arange(8) % 2
        nn.init.constant_(layer.weight, 0.1)
        for step in range(5):
            optimizer.zero_grad()
            cross_entropy(layer(x), y).backward()
            before = layer.weight.detach().clone()
            optimizer.step()
            sizes[step] += (layer.weight != before).sum()
    sizes /= 200
    for step in range(5):
        expected = 20 * (3 / 20) ** min(1.0, (step + 1) / horizon)
        # A mask's size varies by at most sqrt(K), over 200 rows; 4 standard errors.
        assert abs(float(sizes[step]) - expected) < 4 * math.sqrt(expected / 200)


def masks(last: Batch, **options) -> Tensor:
    """Masks of a step whose batch alone differs from run to run."""
    model = MLP.model()
    before, _, after = masked_step(narrow(model, **options), model, last)
    return before != after


def test_masks_do_not_depend_on_their_own_batch() -> None:
    _, second, third, _ = MLP.batches()
    left, right = masks(second), masks(third)
    # A unit that is silent in a batch has no gradient to move it.
    both = (left | right).sum()
    assert both > 0 and (left & right).sum() > 0.7 * both


def test_masks_are_a_function_of_the_seed() -> None:
    batch = MLP.batches()[1]
    assert torch.equal(masks(batch, seed=3), masks(batch, seed=3))
    assert not torch.equal(masks(batch, seed=3), masks(batch, seed=4))


def test_masks_of_steps_and_layers_differ() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, CLASSES))
    options = {"layers": "all", "block_size": 4, "method": "shared", "form": 0, "shrink": 0}
    optimizer = InterpretableSGD(model.parameters(), lr=1e-6, sparsity=-1e9, **options)
    batch, seen = (torch.rand(6, 8), torch.arange(6) % CLASSES), []
    for _ in range(4):
        before = weights(model)
        train(model, optimizer, [batch])
        seen.append([a != b for a, b in zip(model.parameters(), before, strict=True)])
    assert not torch.equal(seen[2][0], seen[2][2])
    assert not any(torch.equal(seen[2][i], seen[3][i]) for i in (0, 2, 4))


def test_7_masks_have_mean_pi_times_the_gradient() -> None:
    """E[Q g] = pi g over n = 2000 steps at rate 1e-9: 80 z-values, |z| < 4.5."""
    model = MLP.model()
    optimizer = narrow(model, lr=1e-9, exploration=0.2)
    x, y = MLP.batches()[0]
    total = torch.zeros(CLASSES, 20, dtype=torch.float64)
    model.double()
    for step in range(2050):
        before, gradient, after = masked_step(optimizer, model, (x.double(), y))
        # The running means have settled by then.
        if step == 50:
            state = optimizer.state[model[2].weight]["moments"]
            pi = block_probabilities(before, Moments(*state), 0.0, 3, 0.0)
            pi = explore(pi, 0.2, 3)
        if step >= 50:
            total += (after - before) / (-1e-9)
    moving = gradient.abs() > 1e-6
    error = (pi * (1 - pi) / 2000).sqrt() * gradient.abs()
    z = ((total / 2000 - pi * gradient) / error)[moving]
    assert z.abs().max() < 4.5


# The shrink.


def shrunk(weight: Tensor, amount: Tensor) -> Tensor:
    return weight.sign() * (weight.abs() - amount).clamp(min=0)


def test_idle_connections_shrink_as_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """|W| <- (|W| - a (1 - pi))_+, a = shrink lr / (max lr 250 sqrt(M)); exploration = 0."""
    model, shrink = MLP.model().double(), 40.0
    monkeypatch.setattr("interpretable_sgd.optimizer.shared.LOOKAHEAD", 0.0)
    options = {"method": "shared", "form": 0, "block_size": 3, "exploration": 0.0}
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, shrink=shrink, **options)
    batches = [(x.double(), y) for x, y in MLP.batches(5)]
    train(model, optimizer, batches[:1])
    rates, peaks = [0.1, 0.2, 0.05, 0.1], [0.1, 0.2, 0.2, 0.2]
    for rate, peak, batch in zip(rates, peaks, batches[1:], strict=True):
        optimizer.param_groups[0]["lr"] = rate
        amount = shrink * rate / (peak * 250 * math.sqrt(20))
        head = model[2].weight.detach()
        moments = Moments(*optimizer.state[model[2].weight]["moments"])
        pi = block_probabilities(head, moments, 0.0, 3, 0.0)
        before, gradient, after = masked_step(optimizer, model, batch)
        moved, still = (shrunk(before - rate * q * gradient, amount * (1 - pi)) for q in (1, 0))
        close = [torch.isclose(after, e, rtol=1e-9, atol=1e-12) for e in (moved, still)]
        assert (close[0] | close[1]).all() and close[0].any() and close[1].any()
        assert (after == 0).any() and (after != 0).any()


def test_nothing_shrinks_at_learning_rate_zero() -> None:
    model = MLP.model()
    optimizer = narrow(model, shrink=1000.0)
    before = weights(model)
    optimizer.param_groups[0]["lr"] = 0.0
    train(model, optimizer, MLP.batches(3))
    assert same(model.parameters(), before)


def test_nothing_shrinks_while_the_learning_rate_has_always_been_0() -> None:
    model = MLP.model()
    before = weights(model)
    train(model, narrow(model, lr=0.0, shrink=1000.0), MLP.batches())
    assert same(model.parameters(), before)


# The running means.


@pytest.mark.parametrize("maximize", [False, True])
def test_the_mean_gradient_is_of_the_descent_direction(maximize: bool) -> None:
    model = MLP.model()
    optimizer = narrow(model, maximize=maximize)
    expected = optimizer.state[model[2].weight]["moments"][0].clone()
    for batch in MLP.batches(5):
        _, gradient, _ = masked_step(optimizer, model, batch)
        expected.lerp_((-1 if maximize else 1) * gradient, 0.1)
        torch.testing.assert_close(optimizer.state[model[2].weight]["moments"][0], expected)


UNITS, LR = 8, 0.1


def comes_back(seed: int) -> bool:
    """Whether a class selects the one unit that tells it, whose weight was emptied before."""
    head = nn.Linear(UNITS, 2, bias=False)
    options = {"method": "shared", "form": 0, "block_size": 2, "shrink": 0.0, "exploration": 0.0}
    optimizer = InterpretableSGD(head.parameters(), lr=LR, seed=seed, **options)
    labels = torch.arange(32) % 2
    units = torch.full((32, UNITS), 0.5)
    units[:, 0] = 2.0 * (labels == 0)
    moved = 0
    for step in range(60):
        if step == 1:
            # The first step is of all connections.
            with torch.no_grad():
                head.weight.fill_(0.1)
                head.weight[:, 0] = 0
        optimizer.zero_grad()
        cross_entropy(head(units), labels).backward()
        before = head.weight[0, 0].item()
        optimizer.step()
        moved += step > 0 and head.weight[0, 0].item() != before
    return moved > 30


def test_an_emptied_connection_comes_back_when_its_class_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """20 seeds; without look-ahead only where the first mask, uniform, selected it by chance: 2 of 8."""
    assert all(map(comes_back, range(20)))
    monkeypatch.setattr("interpretable_sgd.optimizer.shared.LOOKAHEAD", 0.0)
    assert sum(map(comes_back, range(20))) < 10


def test_gates_of_half_precision_weights_are_computed_wide() -> None:
    """Weights that bfloat16 squares would make equal rank as they are."""
    layer = nn.Linear(2, 1, dtype=torch.bfloat16, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 1.0078125]]))
    options = {"method": "shared", "form": 0, "block_size": 1}
    optimizer = InterpretableSGD(layer.parameters(), lr=0.0, **options)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.ones(3, 2, dtype=torch.bfloat16)).sum().backward()
        optimizer.step()
    (units,) = optimizer.routed_units().values()
    ratio = 1.0078125**2
    expected = torch.tensor([[1 / (1 + ratio), ratio / (1 + ratio)]])
    torch.testing.assert_close(units.strength, expected, rtol=1e-5, atol=1e-6)


def test_strength_is_of_the_gates() -> None:
    model = MLP.model()
    optimizer = narrow(model)
    train(model, optimizer, MLP.batches(3))
    _, positive, negative = optimizer.state[model[2].weight]["moments"]
    G = gate(model[2].weight.detach(), positive, negative)
    strength = optimizer.routed_units()["2"].strength
    torch.testing.assert_close(strength, G / G.sum(1, keepdim=True))

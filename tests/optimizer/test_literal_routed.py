"""The routed oracle against hands, torch.optim.SGD on the sub-model, and published numbers."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.optimizer.literal_routed import RoutedTwin, routes

NAN = math.nan
CE5 = (1.6 * torch.eye(3, dtype=torch.float64) - 0.6, torch.zeros(3, dtype=torch.int64))


def deltas(W: list[list[float]], x: Tensor, y: Tensor) -> tuple[list[list[float]], float]:
    """Gradients of the outputs of the mean cross entropy, and its value."""
    z = (x @ torch.tensor(W, dtype=x.dtype).T).requires_grad_()
    loss = cross_entropy(z, y)
    (delta,) = torch.autograd.grad(loss, z)
    return delta.tolist(), float(loss.detach())


def trained(twin: RoutedTwin, x: Tensor, y: Tensor, steps: int, lr: float, **how) -> list[float]:
    losses = []
    for _ in range(steps):
        delta, loss = deltas(twin.W, x, y)
        twin.step(x.tolist(), delta, lr, **how)
        losses.append(loss)
    return losses


def drawn(n: int, M: int, O: int, seed: int) -> tuple[Tensor, Tensor, list[list[float]]]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, M, generator=generator, dtype=torch.float64).relu()
    y = torch.randint(O, (n,), generator=generator)
    return x, y, torch.randn(O, M, generator=generator, dtype=torch.float64).tolist()


@pytest.mark.parametrize(
    ("row", "x", "block_size", "magnitude", "expected"),
    [
        ([1, -1, 2, 0], [1, 1, 1, 1], 2, False, "1010"),
        ([1, -1, 2, 0], [1, 1, 1, 1], 3, False, "1010"),
        ([1, -1, 2, 0], [1, 1, 1, 1], 3, True, "1110"),
        ([1, 1, 1], [2, 2, 2], 2, False, "110"),
        ([-1, -1, 1], [-1, 1, -1], 2, False, "100"),
        ([5, NAN, 1], [1, 1, 1], 1, False, "010"),
        ([1, 2], [0, 0], 1, False, "00"),
    ],
    ids=["positive", "fewer", "magnitude", "tie", "signed", "nan", "inactive"],
)
def test_routes(row, x, block_size, magnitude, expected) -> None:
    found = routes(row, x, block_size, magnitude)
    assert "".join(str(int(kept)) for kept in found) == expected


def test_one_step_by_hand() -> None:
    """Two samples, K = 1: sample 0 goes through unit 1 (3 > 1), sample 1 through unit 0."""
    twin = RoutedTwin([[1.0, 3.0]], block_size=1)
    left = twin.step([[1.0, 1.0], [2.0, 0.0]], [[0.5], [-1.0]], lr=0.1)
    # g = (.5 - 2, .5), u = (-2, .5).
    assert left.weight[0] == pytest.approx([1.2, 2.95])
    assert twin.gbar[0] == pytest.approx([-0.15, 0.05])
    assert twin.ubar[0] == pytest.approx([-0.2, 0.05])
    # W'^2 delta^2 x^2 of what is routed: (1 * 1 * 4, 9 * .25 * 1), over their mean, times .1.
    assert twin.share[0] == pytest.approx([0.4 / 3.125, 0.225 / 3.125])


def test_look_ahead_opens_what_is_zero() -> None:
    twin = RoutedTwin([[0.0, 0.0, 0.0]], block_size=1, foresight=10)
    x, delta = [[1.0, 2.0, 0.0]], [[-1.0]]
    assert twin.step(x, delta, lr=0.1).weight == [[0.0, 0.0, 0.0]]
    # W' = 10 * .1 * .1 (1, 2, 0): unit 1 is routed; unguarded, since ubar = 0 is what is guarded.
    assert twin.uphill(0)
    twin.guard = False
    assert twin.step(x, delta, lr=0.1).weight[0] == pytest.approx([0.0, 0.2, 0.0])


def test_a_factor_on_the_gradient_is_carried_to_what_is_dropped() -> None:
    x, delta = [[1.0, 1.0]], [[0.5]]
    plain = RoutedTwin([[1.0, 3.0]], block_size=1).step(x, delta, lr=0.1)
    scaled = RoutedTwin([[1.0, 3.0]], block_size=1)
    # Backward leaves u = (0, 1/2), of which clipping makes half.
    halved = scaled.step(x, delta, lr=0.2, grad=[[0.0, 0.25]])
    assert halved.weight[0] == pytest.approx(plain.weight[0])
    assert scaled.gbar[0] == pytest.approx([0.025, 0.025])


@pytest.mark.parametrize("phase", ["form", "route"])
def test_forming_and_short_rows_are_torch_sgd(phase: str) -> None:
    """M <= K closes every row from the start; M > K forms."""
    x, y, W = drawn(12, 6, 3, seed=0)
    twin = RoutedTwin(W, block_size=6 if phase == "route" else 2, momentum=0.9, weight_decay=0.01)
    weight = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([weight], lr=0.3, momentum=0.9, weight_decay=0.01)
    for _ in range(30):
        delta, _ = deltas(twin.W, x, y)
        twin.step(x.tolist(), delta, lr=0.6, brake=0.5, phase=phase, narrow=1e-3)
        sgd.zero_grad()
        cross_entropy(x @ weight.T, y).backward()
        sgd.step()
    worst = (torch.tensor(twin.W, dtype=torch.float64) - weight.detach()).abs().max()
    assert worst < 1e-13


def test_settled_steps_are_torch_sgd_on_the_sub_model() -> None:
    x, y, W = drawn(24, 8, 3, seed=1)
    twin = RoutedTwin(W, block_size=3, momentum=0.9, weight_decay=0.01)
    trained(twin, x, y, 20, lr=0.3, narrow=1e-3)
    twin.settle()
    S = torch.tensor(twin.S)
    assert S.sum(1).tolist() == [3, 3, 3]
    values = torch.tensor(twin.W, dtype=torch.float64)[S].requires_grad_()
    sgd = torch.optim.SGD([values], lr=0.3, momentum=0.9, weight_decay=0.01)
    values.grad = torch.zeros_like(values)
    sgd.step()
    sgd.state[values]["momentum_buffer"] = torch.tensor(twin.buffer, dtype=torch.float64)[S]
    values.data = torch.tensor(twin.W, dtype=torch.float64)[S]
    for _ in range(40):
        delta, _ = deltas(twin.W, x, y)
        left = twin.step(x.tolist(), delta, lr=0.3, narrow=1e-3)
        sgd.zero_grad()
        cross_entropy(x @ torch.zeros(S.shape).double().masked_scatter(S, values).T, y).backward()
        sgd.step()
    weight = torch.tensor(left.weight, dtype=torch.float64)
    assert (weight[S] - values.detach()).abs().max() < 1e-12
    assert not weight[~S].any() and not torch.tensor(left.momentum)[~S].any()


def test_settling_keeps_the_largest_shares_and_opens_dead_rows() -> None:
    twin = RoutedTwin([[1.0, 2.0, 3.0, 0.0], [1.0, 1.0, -1.0, 1.0]], block_size=2)
    twin.share = [[0.5, 0.5, 0.2, 9.0], [0.0] * 4]
    twin.gbar = [[0.0] * 4, [-1.0, 2.0, -3.0, -2.0]]
    twin.settle()
    # Of equal shares the larger weight ranks first; a weight of 0 is not kept, whatever its share.
    assert twin.S == [[True, True, False, False], [False, False, True, True]]
    assert twin.W == [[1.0, 2.0, 0.0, 0.0], [0.0] * 4]


def test_shrink_by_hand() -> None:
    """No shares: pi = K / M for all. Then pi = (1, 1/2, 1/2, 0)."""
    twin = RoutedTwin([[1.0, -1.0, 0.1, 0.0]], block_size=2)
    none = twin.step([[0.0] * 4], [[0.0]], lr=0.1, narrow=0.4)
    assert none.weight[0] == pytest.approx([0.8, -0.8, 0.0, 0.0])
    twin.share = [[9.0, 1.0, 1.0, 0.0]]
    some = twin.step([[0.0] * 4], [[0.0]], lr=0.1, narrow=0.4)
    assert some.weight[0] == pytest.approx([0.8, -0.6, 0.0, 0.0])


def test_fade_by_hand() -> None:
    """pi = (1, 1/2, 1/2, 0); a weight of pi = 0 is left 1 - p, whichever steps lead to p."""
    twin = RoutedTwin([[1.0, -1.0, 0.1, 1.0]], block_size=2, shipped=True)
    twin.share = [[9.0, 1.0, 1.0, 0.0]]
    nothing = [[0.0] * 4], [[0.0]]
    assert twin.step(*nothing, lr=0.1, narrow=0.25).weight[0] == pytest.approx(
        [1, -0.75, 0.075, 0.5]
    )
    assert twin.step(*nothing, lr=0.1, narrow=0.45).weight[0][3] == pytest.approx(0.1)


def test_a_row_without_shares_keeps_its_largest_weights_as_shipped() -> None:
    twin = RoutedTwin([[1.0, -2.0, 3.0], [0.0] * 3], block_size=2, shipped=True)
    twin.gbar = [[-1.0, 1.0, 1.0], [1.0, -1.0, 1.0]]
    twin.settle()
    assert twin.S == [[False, True, True], [False, True, False]]


def test_max_against_sum_points_uphill_and_is_guarded() -> None:
    """One class has all 3 K units on, the other one block at 2, so that only it is routed whole.

    Equal weights: the first block alone is routed in both classes, and moves as it should.
    """
    K = 5
    own = torch.ones(3, 3 * K, dtype=torch.float64)
    others = 2 * torch.eye(3, dtype=torch.float64).repeat_interleave(K, 1)
    x, sign = torch.cat([own, others]), [-1.0] * 3 + [1.0] * 3
    twin = RoutedTwin([[0.1] * (3 * K)], block_size=K, foresight=0)
    delta = [[0.25 * s] for s in sign]
    twin.step(x.tolist(), delta, lr=0.0)
    u, g = torch.tensor(twin.ubar[0]), torch.tensor(twin.gbar[0])
    assert g.tolist() == pytest.approx([-0.025] * 15)
    assert u.tolist() == pytest.approx([-0.025] * 5 + [0.05] * 10)
    assert float(torch.cosine_similarity(u, g, 0)) == pytest.approx(-1 / 3**0.5)
    assert twin.uphill(0)


def test_ce5_grows_by_its_predicted_amount_without_the_guard() -> None:
    """(2/3)(.4)(.2 eta) a step, .10667 at eta = 2; with the guard it is solved."""
    x, y = CE5
    zero = [[0.0] * 3, [0.0] * 3]
    losses = trained(RoutedTwin(zero, block_size=1, guard=False), x, y, 1_001, lr=2.0)
    assert (losses[1_000] - losses[500]) / 500 == pytest.approx(2 / 3 * 0.4 * 0.2 * 2, rel=0.01)
    assert trained(RoutedTwin(zero, block_size=1), x, y, 1_001, lr=2.0)[-1] < 0.02

"""The routed method against its literal twin, in float64, and every edge of the algorithm.

A layer is braked for 2 steps, forms for 3, is routed for 12, and is settled from step 17 on, unless said.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer import routed
from interpretable_sgd.optimizer.routed_gradient import (
    Statistics,
    dense_rows,
    lookahead,
    matching_scale,
    support,
)
from tests.optimizer.literal_routed import RoutedTwin

BRAKE, FORM, SETTLE, STEPS = 2, 5, 17, 24
COVER = 0.95
N, M, O, K = 10, 9, 3, 2
HYPERPARAMETERS = {
    "plain": {},
    "decay": {"weight_decay": 0.05},
    "momentum": {"momentum": 0.9},
    "momentum, decay": {"momentum": 0.9, "weight_decay": 0.05},
    "maximize": {"momentum": 0.5, "weight_decay": 0.3, "maximize": True},
}
Batches = Iterator[tuple[Tensor, Tensor]]


def batches(signed: bool = False, classes: int = O, seed: int = 0, size: int = N) -> Batches:
    generator = torch.Generator().manual_seed(seed)
    while True:
        x = torch.randn(size, M, generator=generator, dtype=torch.float64)
        yield x if signed else x.relu(), torch.randint(classes, (size,), generator=generator)


def softmax_loss(z: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(z, y)


def squared_loss(z: Tensor, y: Tensor) -> Tensor:
    return (z[:, 0] - 2.0 * y).square().mean()


class Pair:
    """A Linear layer under the optimizer, and its twin in step."""

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        outputs: int = O,
        loss: Callable[[Tensor, Tensor], Tensor] = softmax_loss,
        twin: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        torch.manual_seed(0)
        self.layer, self.loss = nn.Linear(M, outputs, bias=False).double(), loss
        if weight is not None:
            self.layer.weight.data = weight.clone()
        phases = {"brake": BRAKE, "form": FORM, "settle": SETTLE}
        chosen = {"lr": 0.3, "block_size": K} | phases | options
        self.optimizer = InterpretableSGD(self.layer.parameters(), **chosen)
        shared = ("block_size", "momentum", "weight_decay", "maximize")
        self.twin = RoutedTwin(
            self.layer.weight.tolist(),
            shipped=True,
            cover=COVER,
            **{name: chosen[name] for name in shared if name in chosen},
            **(twin or {}),
        )
        self.brake, self.form, self.settle = (chosen[name] for name in phases)
        self.steps = 0

    def deltas(self, x: Tensor, y: Tensor, scale: float = 1.0) -> Tensor:
        """One backward pass, and the gradients of the outputs that it saw."""
        z = self.layer(x)
        z.retain_grad()
        (scale * self.loss(z, y)).backward()
        return z.grad

    def step(
        self,
        x: Tensor,
        y: Tensor,
        lr: float | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        """Both take a step, with `.grad` changed by `before`, and must agree."""
        (group,) = self.optimizer.param_groups
        if lr is not None:
            group["lr"] = lr
        self.optimizer.zero_grad()
        delta = self.deltas(x, y)
        if before is not None:
            before()
        grad = self.layer.weight.grad.tolist()
        self.optimizer.step()
        self.steps += 1
        progress = (self.steps - self.form) / max(1, self.settle - self.form)
        self.twin.step(
            x.tolist(),
            delta.tolist(),
            group["lr"],
            phase=self.phase,
            narrow=min(1.0, max(0.0, progress)),
            settle=self.steps == self.settle,
            grad=grad,
        )
        self.compare()

    @property
    def phase(self) -> str:
        """Of the last step, of one that was observed from the first."""
        limits = {"brake": self.brake, "form": self.form}
        return next((name for name, end in limits.items() if self.steps <= end), "route")

    def compare(self) -> None:
        state = self.optimizer.state[self.layer.weight]
        close(self.layer.weight.detach(), self.twin.W)
        # The means are of no use any more once a layer has settled.
        if self.steps <= self.settle:
            gbar, ubar, gates = state["moments"]
            close(gbar, self.twin.gbar)
            close(ubar, self.twin.ubar)
            close(gates, self.twin.share)
        if state.get("momentum_buffer") is not None:
            close(state["momentum_buffer"], self.twin.buffer)
        if "support" in state:
            assert state["support"].tolist() == self.twin.S

    def run(self, data: Batches, steps: int = STEPS, **how: Any) -> None:
        for x, y in itertools.islice(data, steps):
            self.step(x, y, **how)

    @property
    def state(self) -> dict[str, Any]:
        return self.optimizer.state[self.layer.weight]


def close(ours: Tensor, theirs: list[list[float]]) -> None:
    expected = torch.tensor(theirs, dtype=torch.float64)
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-13, equal_nan=True)


# Trajectories.


@pytest.mark.parametrize("signed", [False, True], ids=["positive", "signed"])
@pytest.mark.parametrize("hyperparameters", HYPERPARAMETERS.values(), ids=list(HYPERPARAMETERS))
def test_trajectories_are_the_twins(hyperparameters: dict, signed: bool) -> None:
    pair = Pair(**hyperparameters)
    pair.run(batches(signed))
    kept = (pair.layer.weight != 0).sum(1)
    assert kept.min() >= 1 and kept.max() == K


def test_the_look_ahead_takes_the_rate_of_the_step_before() -> None:
    """Rates that rise and fall: W' = W - 10 eta gbar is fixed before the schedule moves on."""
    pair = Pair(momentum=0.9)
    for (x, y), rate in zip(batches(), [0.1, 0.5, 0.3, 0.02, 0.0, 0.4] * 4, strict=False):
        pair.step(x, y, lr=rate)


@pytest.mark.parametrize("loss", [squared_loss, lambda z, y: -squared_loss(z, y)], ids=["+", "-"])
def test_one_output_is_routed_by_magnitude(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    pair = Pair(outputs=1, loss=loss, twin={"magnitude": True}, lr=0.02)
    assert (pair.layer.weight < 0).any()
    pair.run(batches(classes=2))
    assert int((pair.layer.weight != 0).sum()) == K


def test_a_layer_that_is_not_the_head_is_routed_by_magnitude() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(M, O, bias=False), nn.Tanh(), nn.Linear(O, O)).double()
    options = {"block_size": K, "form": 1, "settle": 1000}
    optimizer = InterpretableSGD(model.parameters(), lr=0.3, layers="0", **options)
    twin = RoutedTwin(model[0].weight.tolist(), block_size=K, magnitude=True, shipped=True)
    outputs: list[Tensor] = []
    model[1].register_forward_pre_hook(lambda _, args: outputs.append(args[0]))
    for step, (x, y) in enumerate(itertools.islice(batches(), 6)):
        optimizer.zero_grad()
        loss, z = cross_entropy(model(x), y), outputs.pop()
        z.retain_grad()
        loss.backward()
        optimizer.step()
        phase = "route" if step else "form"
        twin.step(x.tolist(), z.grad.tolist(), 0.3, phase=phase, narrow=step / 999)
    close(model[0].weight.detach(), twin.W)


def test_a_head_of_zeros_learns() -> None:
    pair, data = Pair(torch.zeros(O, M).double()), batches()
    pair.run(data, BRAKE)
    assert pair.layer.weight.any(1).all(), "while it is braked, too"
    pair.run(data, STEPS - BRAKE)
    assert (pair.layer.weight != 0).sum(1).tolist() == [K] * O


def test_inputs_of_zeros_move_nothing_but_the_cut() -> None:
    pair = Pair()
    before = pair.layer.weight.detach().clone()
    for _, y in itertools.islice(batches(), FORM):
        pair.step(torch.zeros(N, M).double(), y)
    assert torch.equal(pair.layer.weight, before)
    for _, y in itertools.islice(batches(), STEPS - FORM):
        pair.step(torch.zeros(N, M).double(), y)
    assert (pair.layer.weight != 0).sum(1).tolist() == [K] * O, "the largest weights are kept"


def test_a_row_without_a_share_fades_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights below 0 and no look-ahead: nothing of row 0 is ever routed; pi = K / M there."""
    weight = torch.rand(O, M, generator=torch.Generator().manual_seed(3)).double()
    weight[0] *= -1
    # Its class is in no sample, so that no connection of it should grow: it is not dead.
    monkeypatch.setattr(routed, "LOOKAHEAD", 0.0)
    pair = Pair(weight, lr=1e-4, twin={"foresight": 0.0})
    for x, y in itertools.islice(batches(classes=O - 1), FORM + 4):
        pair.step(x, y + 1)
    assert not pair.state["moments"][2, 0].any() and pair.state["moments"][2, 1:].any()
    left = pair.layer.weight[0] / weight[0]
    # Whatever steps lead to p, each multiplies by 1 - (1 - K / M) dp / (1 - p).
    expected = 1.0
    pace = 2 / (SETTLE - FORM)
    for step in range(1, 5):
        expected *= 1 - (1 - K / M) * pace / (1 - (step - 1) * pace)
    torch.testing.assert_close(left, torch.full_like(left, expected), rtol=1e-2, atol=0)


# The guard.

CE5 = (1.6 * torch.eye(3, dtype=torch.float64) - 0.6, torch.zeros(3, dtype=torch.int64))


def test_rows_that_would_ascend_are_trained_densely() -> None:
    """CE5, which diverges without the guard: rows pass it in some steps, and not in others."""
    x, y = CE5
    layer = nn.Linear(3, 2, bias=False).double()
    nn.init.zeros_(layer.weight)
    options = {"lr": 2.0, "block_size": 1, "form": 1, "settle": 10**6}
    optimizer = InterpretableSGD(layer.parameters(), **options)
    twin = RoutedTwin([[0.0] * 3] * 2, block_size=1, shipped=True)
    guarded = []
    for step in range(200):
        optimizer.zero_grad()
        z = layer(x)
        z.retain_grad()
        cross_entropy(z, y).backward()
        if step > 1:
            guarded.append(tuple(map(twin.uphill, range(2))))
        optimizer.step()
        twin.step(
            x.tolist(),
            z.grad.tolist(),
            2.0,
            phase="route",
            narrow=step / (10**6 - 1),
        )
        close(layer.weight.detach(), twin.W)
    assert {True, False} <= {rows[0] for rows in guarded}
    assert cross_entropy(layer(x), y).item() < 0.2


@pytest.mark.parametrize(
    ("dense", "routed", "ascends"),
    [
        ([1.0, -1.0], [1.0, 0.0], False),
        ([1.0, -1.0], [0.0, 2.0], True),
        ([1.0, -1.0], [0.0, 0.0], True),
        ([1.0, 2.0], [0.0, 0.0], False),
        ([0.0, 0.0], [0.0, 0.0], False),
        ([1.0, 1.0], [1.0, -1.0], False),
    ],
    ids=["downhill", "uphill", "dead", "told by absence", "at rest", "orthogonal"],
)
def test_dense_rows(dense: list[float], routed: list[float], ascends: bool) -> None:
    means = Statistics(torch.tensor([dense]), torch.tensor([routed]), torch.zeros(1, 2))
    assert dense_rows(torch.ones(1, 2), means).tolist() == [ascends]


def test_a_row_of_zeros_is_dense() -> None:
    means = Statistics(*torch.ones(3, 2, 4))
    assert dense_rows(torch.tensor([[0.0] * 4, [0, 0, 1, 0]]), means).tolist() == [True, False]


# The support, and the cut.


def cut(weight: list[float], gates: list[float], dense: list[float], k: int) -> str:
    means = Statistics(torch.tensor([dense]), torch.zeros(1, len(weight)), torch.tensor([gates]))
    kept = support(torch.tensor([weight]), means, k)[0].tolist()
    return "".join(str(int(one)) for one in kept)


@pytest.mark.parametrize(
    ("weight", "gates", "dense", "expected"),
    [
        ([1.0, 1, 1, 1], [3.0, 1, 2, 0], [0.0] * 4, "1010"),
        ([1.0, 2, -3, 1], [5.0, 5, 5, 5], [0.0] * 4, "0110"),
        ([1.0, 1, 1, 1], [5.0, 5, 5, 5], [0.0] * 4, "1100"),
        ([0.0, 1, 1, 1], [9.0, 1, 2, 3], [0.0] * 4, "0011"),
        ([1.0, 1, 1, 1], [0.0, 0, 2, 0], [0.0] * 4, "0010"),
        ([1.0, -3, 2, 0], [0.0] * 4, [-1.0, 0, 0, -9], "0110"),
        ([0.0, 0, 0, 0], [1.0, 2, 0, 0], [-1.0, 2, -3, -2], "0011"),
        ([0.0, 0, 0, 0], [0.0] * 4, [1.0, 2, -3, 2], "0010"),
        ([0.0, 0, 0, 0], [0.0] * 4, [-2.0, -2, -2, -2], "1100"),
        ([0.0, 0, 0, 0], [0.0] * 4, [1.0, 2, 3, 4], "0000"),
    ],
    ids=[
        "largest gates",
        "equal gates: larger weight",
        "equal: lowest index",
        "a weight of 0 is not kept",
        "fewer gates than K",
        "no gates: largest weights",
        "empty row: opened downhill",
        "one way down",
        "opened: lowest index",
        "no way down",
    ],
)
def test_the_support(weight, gates, dense, expected: str) -> None:
    assert cut(weight, gates, dense, k=2) == expected


def test_equal_inputs_are_cut_to_the_lowest_indices() -> None:
    """Duplicated inputs and weights tie in every sample, and would share for ever."""
    layer = nn.Linear(M, O, bias=False).double()
    nn.init.constant_(layer.weight, 0.1)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1, block_size=K, form=1, settle=9)
    for x, y in itertools.islice(batches(), 12):
        optimizer.zero_grad()
        cross_entropy(layer(x[:, :1].expand(-1, M).contiguous()), y).backward()
        optimizer.step()
    assert torch.equal(layer.weight != 0, (torch.arange(M) < K).expand(O, -1))


def test_opened_connections_start_at_0_and_learn() -> None:
    """A class that is absent until its row is empty, and settles; then it comes."""
    weight = torch.zeros(O, M).double()
    pair = Pair(weight, form=20, settle=21, lr=0.0)
    data = batches()
    pair.run(data, 20)
    assert not pair.layer.weight.any()
    x, y = next(data)
    pair.step(x, y)
    assert pair.optimizer.phase == "settle" and not pair.layer.weight.any()
    opened = pair.state["support"]
    wanted = torch.tensor(pair.twin.gbar).double()
    assert opened.sum(1).tolist() == (wanted < 0).sum(1).clamp(max=K).tolist()
    assert opened.any(1).all()
    assert (wanted[opened] < 0).all()
    pair.step(*next(data), lr=0.3)
    assert torch.equal(pair.layer.weight != 0, opened)


def test_the_momentum_of_what_is_cut_is_cut() -> None:
    pair = Pair(momentum=0.9)
    pair.run(batches(), SETTLE)
    kept = pair.state["support"]
    assert not pair.state["momentum_buffer"][~kept].any()
    assert pair.state["momentum_buffer"][kept].all()


# What becomes of `.grad` between backward and step.


@pytest.mark.parametrize("factor", [0.25, 3.0, 2.0**-16])
def test_a_factor_on_the_gradient_is_a_factor_on_the_means(factor: float) -> None:
    """Averages over processes, or accumulation: f scales gbar and ubar, and no share."""
    pair, whole = Pair(lr=0.3 / factor), Pair(lr=0.3)
    data = batches()
    for x, y in itertools.islice(data, SETTLE):
        pair.step(x, y, before=lambda: pair.layer.weight.grad.mul_(factor))
        whole.step(x, y)
    torch.testing.assert_close(pair.layer.weight, whole.layer.weight, rtol=1e-10, atol=1e-12)
    scales = torch.tensor([factor, factor, 1.0]).double()[:, None, None]
    torch.testing.assert_close(
        pair.state["moments"], whole.state["moments"] * scales, rtol=1e-8, atol=1e-12
    )


def test_clipping_scales_what_is_routed() -> None:
    pair, norms = Pair(momentum=0.9), []

    def clip() -> None:
        norms.append(float(torch.nn.utils.clip_grad_norm_(pair.layer.parameters(), 0.2)))

    pair.run(batches(), before=clip)
    assert max(norms) > 0.2


def test_a_penalty_on_the_weight_stays_dense() -> None:
    """Its gradient joins `.grad` past the layer, and every connection takes it."""

    def penalised(z: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(z, y) + 0.1 * pair.layer.weight.square().sum()

    pair = Pair(loss=penalised)
    pair.run(batches(), FORM + 3)
    x, y = next(batches(seed=9))
    before = pair.layer.weight.detach().clone()
    plain = before.clone().requires_grad_()
    (0.1 * plain.square().sum()).backward()
    pair.optimizer.zero_grad()
    delta = pair.deltas(x, y)
    *_, left = pair.twin.routed(x.tolist(), delta.tolist(), 0.3, "route")
    close(pair.layer.weight.grad - plain.grad, left)
    assert (torch.tensor(left) == 0).any(), "something was not routed"


@pytest.mark.parametrize("parts", [2, 5])
def test_micro_batches_are_routed_as_one_batch(parts: int) -> None:
    whole, pieces = Pair(), Pair()
    for x, y in itertools.islice(batches(), STEPS):
        whole.step(x, y)
        pieces.optimizer.zero_grad()
        for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True):
            pieces.deltas(a, b, scale=1 / parts)
        pieces.optimizer.step()
        torch.testing.assert_close(pieces.layer.weight, whole.layer.weight, rtol=1e-10, atol=1e-12)


def test_scaled_losses_with_skipped_steps_are_plain_ones() -> None:
    """As under GradScaler: backward of a scaled loss, .grad unscaled; a skipped step ends in zero_grad."""
    plain, scaled = Pair(), Pair()
    for number, (x, y) in enumerate(itertools.islice(batches(), STEPS)):
        plain.step(x, y)
        scaled.optimizer.zero_grad()
        if number % 5 == 3:
            scaled.deltas(x * 1e3, y, scale=2.0**15)
            scaled.optimizer.zero_grad()
        scaled.deltas(x, y, scale=2.0**10)
        scaled.layer.weight.grad /= 2.0**10
        scaled.optimizer.step()
        torch.testing.assert_close(scaled.layer.weight, plain.layer.weight, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("gradient", "routed", "factor"),
    [([0.5, 1.0], [1.0, 2.0], 0.5), ([1.0, 1.0], [0.0, 0.0], 0.0), ([1.0, 9.0], [2.0, 0.0], 0.5)],
)
def test_the_scale_that_matches(gradient: list, routed: list, factor: float) -> None:
    assert float(matching_scale(torch.tensor([gradient]), torch.tensor([routed]))) == factor


def test_the_look_ahead_is_a_shift_along_the_mean_gradient() -> None:
    gradient = torch.tensor([[1.0, -2.0]])
    assert lookahead(gradient, 0.5).tolist() == [[-0.5, 1.0]]


# What is not finite.


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_what_is_not_finite_reaches_the_gradient_and_no_mean(poison: float) -> None:
    pair = Pair(lr=0.0)
    pair.run(batches(), FORM + 3)
    means = pair.state["moments"].clone()
    x, y = next(batches(seed=5))
    x[0, 4] = poison
    pair.optimizer.zero_grad()
    pair.deltas(x, y)
    assert not pair.layer.weight.grad.isfinite().all()
    pair.optimizer.step()
    assert torch.equal(pair.state["moments"], means)


# Rows of no more connections than are kept.


@pytest.mark.parametrize("block_size", [M, M + 1, 1000])
@pytest.mark.parametrize("hyperparameters", HYPERPARAMETERS.values(), ids=list(HYPERPARAMETERS))
def test_whole_rows_are_torch_sgd_bit_for_bit(hyperparameters: dict, block_size: int) -> None:
    ours, theirs = (nn.Linear(M, O) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    options = {"lr": 0.3} | hyperparameters
    optimizers = (
        InterpretableSGD(ours.parameters(), block_size=block_size, form=1, settle=3, **options),
        torch.optim.SGD(theirs.parameters(), **options),
    )
    for x, y in itertools.islice(batches(signed=True), 6):
        for layer, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            cross_entropy(layer(x.float()), y).backward()
            optimizer.step()
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)

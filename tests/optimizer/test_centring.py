"""Forming steps of a head with a bias, in coordinates in which its inputs are centred."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer.centring import can_centre, centred_gradients, input_sums
from tests.models import MLP, same, train, weights

FORMING = {"brake": 0, "form": 10**6, "block_size": 3}


def problem(size: int = 12) -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(0)
    return nn.Linear(9, 4).double(), torch.rand(size, 9).double() + 0.5, torch.arange(size) % 4


def test_a_step_is_one_of_sgd_on_centred_inputs() -> None:
    """z = W (x - mu) + b', b' = b + W mu: plain gradients there, written back in W and b."""
    layer, x, y = problem()
    mean = x[:5].mean(0)
    W = layer.weight.detach().clone().requires_grad_()
    shifted = (layer.bias + layer.weight @ mean).detach().requires_grad_()
    cross_entropy((x - mean) @ W.T + shifted, y).backward()
    moved = W.detach() - 0.3 * W.grad
    expected = moved, shifted.detach() - 0.3 * shifted.grad - moved @ mean

    cross_entropy(layer(x), y).backward()
    weight, bias = centred_gradients(layer.weight.grad, layer.bias.grad, mean)
    found = layer.weight.detach() - 0.3 * weight, layer.bias.detach() - 0.3 * bias
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_centred_direction_descends() -> None:
    """P = T T' is positive definite: <P g, g> = |g_W - g_b mu'|^2 + |g_b|^2, for any mu."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(4, 9, generator=generator, dtype=torch.float64)
    bias, mean = torch.randn(4, generator=generator).double(), 10 * torch.rand(9).double()
    of_weight, of_bias = centred_gradients(weight, bias, mean)
    along = (of_weight * weight).sum() + (of_bias * bias).sum()
    expected = (weight - bias.outer(mean)).square().sum() + bias.square().sum()
    torch.testing.assert_close(along, expected, rtol=1e-10, atol=0)


def test_inputs_that_are_centred_change_nothing() -> None:
    layer, x, y = problem()
    cross_entropy(layer(x), y).backward()
    found = centred_gradients(layer.weight.grad, layer.bias.grad, torch.zeros(9).double())
    assert same(found, [layer.weight.grad, layer.bias.grad])


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(3, 2), (5, 3)),
        (nn.Linear(3, 2), (5, 4, 2, 3)),
        (nn.Linear(3, 2), (3,)),
        (nn.Conv1d(3, 2, 1), (5, 3, 7)),
        (nn.Conv2d(3, 2, 1), (5, 3, 2, 4)),
    ],
    ids=["rows", "positions", "one sample", "conv1d", "conv2d"],
)
def test_input_sums(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    sums, masked = input_sums(layer, x, torch.empty(0), torch.empty(0), ())
    channels = -1 if isinstance(layer, nn.Linear) else 1
    samples = x.movedim(channels, -1).reshape(-1, 3)
    assert masked is None
    torch.testing.assert_close(sums, torch.cat([samples.sum(0), torch.tensor([len(samples)])]))


@pytest.mark.parametrize(
    ("layer", "able"),
    [
        (nn.Linear(3, 2), True),
        (nn.Linear(3, 2, bias=False), False),
        (nn.Conv2d(3, 2, 1), True),
        (nn.Conv2d(3, 2, 1, padding=1), False),
        (nn.Conv2d(3, 2, 3), False),
        (nn.Conv2d(4, 2, 1, groups=2), False),
    ],
    ids=["linear", "no bias", "1x1", "padded", "3x3", "groups"],
)
def test_what_can_be_centred(layer: nn.Module, able: bool) -> None:
    assert can_centre(layer) == able
    if able:
        layer.bias.requires_grad_(False)
        assert not can_centre(layer)


@pytest.mark.parametrize("hyperparameters", [{}, {"momentum": 0.9, "weight_decay": 0.1}], ids=str)
def test_forming_steps_are_centred_on_the_mean_of_the_past(hyperparameters: dict) -> None:
    """A literal loop: mu of the first batch, and from then on the running mean of those before."""
    model, twin = MLP.model().double(), MLP.model().double()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **hyperparameters, **FORMING)
    dense = torch.optim.SGD(twin.parameters(), lr=0.1, **hyperparameters)
    mean = None
    for step, (x, y) in enumerate(MLP.batches(8)):
        x = x.double()
        train(model, optimizer, [(x, y)])
        dense.zero_grad()
        hidden = twin[:2](x)
        cross_entropy(twin[2](hidden), y).backward()
        now = hidden.detach().mean(0)
        if step:
            # The head is known, and forms, from the second step on.
            mean = now if mean is None else mean
            head = twin[2]
            of_weight = head.weight.grad - head.bias.grad.outer(mean)
            of_bias = head.bias.grad - of_weight @ mean
            head.weight.grad, head.bias.grad = of_weight, of_bias
            mean = 0.9 * mean + 0.1 * now
        dense.step()
        for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_gradients_are_as_backward_left_them() -> None:
    model, plain = MLP.model(), MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **FORMING)
    train(model, optimizer, MLP.batches(3))
    plain.load_state_dict(model.state_dict())
    x, y = MLP.batches(1, seed=3)[0]
    optimizer.zero_grad()
    for net in (model, plain):
        cross_entropy(net(x), y).backward()
    optimizer.step()
    assert same([p.grad for p in model.parameters()], [p.grad for p in plain.parameters()])


@pytest.mark.parametrize("parts", [2, 3])
def test_micro_batches_are_centred_as_one_batch(parts: int) -> None:
    whole, pieces = MLP.model().double(), MLP.model().double()
    optimizers = [InterpretableSGD(m.parameters(), lr=0.1, **FORMING) for m in (whole, pieces)]
    for x, y in MLP.batches(6):
        train(whole, optimizers[0], [(x.double(), y)])
        optimizers[1].zero_grad()
        for a, b in zip(x.double().chunk(parts), y.chunk(parts), strict=True):
            (cross_entropy(pieces(a), b) / parts).backward()
        optimizers[1].step()
    for ours, theirs in zip(weights(whole), weights(pieces), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)

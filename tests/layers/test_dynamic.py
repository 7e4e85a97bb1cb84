"""DynamicLinear and DynamicConv2d: values, gradients, dtypes, formats, state and errors."""

import copy

import pytest
import torch
from torch import nn

from interpretable_sgd import DynamicConv2d, DynamicLinear

SELECTIONS = ["at_most_k", "exactly_k"]


def straightforward(x, weight, bias, k, selection):
    """The layer as first written, with the whole product tensor."""
    kept = (x.unsqueeze(-2) * weight).topk(k, dim=-1).values
    y = (kept.clamp(min=0) if selection == "at_most_k" else kept).sum(-1)
    return y if bias is None else y + bias


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("shape", [(20,), (7, 20), (2, 3, 20), (0, 20)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_the_straightforward_layer(shape, bias, selection):
    layer = DynamicLinear(20, 6, 4, bias, dtype=torch.float64, selection=selection)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(*shape[:-1], 6, dtype=torch.float64)
    inputs = [x, *layer.parameters()]
    got = torch.autograd.grad(layer(x), inputs, grad)
    y = straightforward(x, layer.weight, layer.bias, 4, selection)
    torch.testing.assert_close(layer(x), y)
    for one, other in zip(got, torch.autograd.grad(y, inputs, grad), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("stride", [1, 2, (1, 3)])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_conv_equals_a_linear_layer_at_each_position(memory_format, batched, stride, selection):
    conv = DynamicConv2d(20, 6, 4, stride, dtype=torch.float64, selection=selection)
    x = torch.randn(3, 20, 5, 7, dtype=torch.float64).contiguous(memory_format=memory_format)
    x = (x if batched else x[0]).requires_grad_()
    y = conv(x)
    down, right = conv.stride
    positions = x[..., ::down, ::right].movedim(-3, -1)
    expected = straightforward(positions, conv.weight.flatten(1), conv.bias, 4, selection)
    torch.testing.assert_close(y, expected.movedim(-1, -3))
    assert y.shape == nn.functional.conv2d(x, conv.weight, stride=conv.stride).shape
    assert y.is_contiguous(memory_format=memory_format if batched else torch.contiguous_format)
    inputs, grad = [x, *conv.parameters()], torch.randn_like(y)
    got = torch.autograd.grad(y, inputs, grad)
    for one, other in zip(
        got, torch.autograd.grad(expected, inputs, grad.movedim(-3, -1)), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_k_of_all_units_without_negative_products_is_the_dense_layer():
    dense = nn.Linear(20, 6)
    nn.init.uniform_(dense.weight, 0, 1)
    layer = DynamicLinear(20, 6, 20)
    layer.load_state_dict(dense.state_dict())
    x = torch.rand(5, 20)
    torch.testing.assert_close(layer(x), dense(x))


def test_paper_example_of_at_most_and_exactly_k():
    votes = torch.tensor([1.0, 0.5, -1.0, -2.0, -0.1, -0.2])
    for selection, expected in (("at_most_k", 1.5), ("exactly_k", 0.2)):
        layer = DynamicLinear(6, 1, 5, bias=False, selection=selection)
        nn.init.ones_(layer.weight)
        assert layer(votes).item() == pytest.approx(expected)


def test_first_unit_wins_a_tie():
    layer = DynamicLinear(70, 3, 2, bias=False)
    nn.init.ones_(layer.weight)
    assert layer.routes(torch.ones(4, 70)).units.unique().tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_float_keeps_its_dtype(dtype):
    layer = DynamicLinear(20, 6, 4, dtype=dtype)
    x = torch.randn(5, 20, dtype=dtype, requires_grad=True)
    layer(x).sum().backward()
    wide = copy.deepcopy(layer).double()
    torch.testing.assert_close(layer(x), wide(x.double()).to(dtype))
    assert layer(x).dtype == x.grad.dtype == layer.weight.grad.dtype == dtype


@pytest.mark.parametrize("make", [lambda: DynamicLinear(20, 6, 4), lambda: DynamicConv2d(20, 6, 4)])
def test_autocast_computes_in_the_dtype_of_dense_layers(make):
    layer = make()
    x = torch.randn(2, 20) if isinstance(layer, nn.Linear) else torch.randn(2, 20, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        assert y.dtype == torch.bfloat16
        assert layer.routes(x).contributions.dtype == torch.bfloat16
    y.sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(y.float(), layer(x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "plain, routed",
    [
        (lambda: nn.Linear(20, 6), lambda: DynamicLinear(20, 6, 4)),
        (lambda: nn.Conv2d(20, 6, 1), lambda: DynamicConv2d(20, 6, 4)),
    ],
)
def test_state_dict_moves_both_ways(plain, routed):
    plain, routed = plain(), routed()
    routed.load_state_dict(plain.state_dict())
    plain.load_state_dict(routed.state_dict())
    assert torch.equal(plain.weight, routed.weight)
    assert torch.equal(plain.bias, routed.bias)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_routes_sum_to_the_output(selection):
    layer = DynamicLinear(20, 6, 4, selection=selection)
    x = torch.randn(2, 5, 20)
    routes = layer.routes(x)
    assert routes.units.shape == routes.contributions.shape == (2, 5, 6, 4)
    torch.testing.assert_close(routes.contributions.sum(-1) + layer.bias, layer(x))
    assert (routes.contributions.diff(dim=-1)[routes.units[..., 1:] >= 0] <= 0).all()
    assert (routes.contributions[routes.units < 0] == 0).all()
    products = x.unsqueeze(-2) * layer.weight
    kept = routes.units >= 0
    picked = products.gather(-1, routes.units.clamp(min=0))
    torch.testing.assert_close(picked[kept], routes.contributions[kept])
    assert not routes.contributions.requires_grad


def test_conv_routes_sum_to_the_output():
    conv = DynamicConv2d(20, 6, 4, stride=2)
    x = torch.randn(2, 20, 5, 7)
    routes = conv.routes(x)
    assert routes.units.shape == (2, 6, 3, 4, 4)
    y = routes.contributions.sum(-1) + conv.bias[:, None, None]
    torch.testing.assert_close(y, conv(x))


def test_nan_reaches_the_output():
    layer = DynamicLinear(20, 6, 4)
    x = torch.randn(2, 20)
    x[1, 3] = torch.nan
    assert layer(x)[0].isfinite().all()
    assert layer(x)[1].isnan().all()


@pytest.mark.parametrize("selection", SELECTIONS)
def test_derivatives_of_first_and_second_order(selection):
    layer = DynamicLinear(7, 4, 3, selection=selection, dtype=torch.float64)
    x = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)

    def run(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    inputs = (x, layer.weight, layer.bias)
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_per_sample_gradients_by_vmap():
    layer = DynamicLinear(7, 4, 3, dtype=torch.float64)
    x = torch.randn(5, 7, dtype=torch.float64)
    state = {k: v.detach() for k, v in layer.named_parameters()}

    def loss(state, x):
        return torch.func.functional_call(layer, state, (x,)).square().sum()

    got = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(state, x)
    for n in range(5):
        expected = torch.func.grad(loss)(state, x[n])
        for name in state:
            torch.testing.assert_close(got[name][n], expected[name])


def test_ensembles_by_vmap_over_weights():
    layer = DynamicLinear(7, 4, 3)
    weights, x = torch.randn(3, 4, 7), torch.randn(5, 7)

    def run(weight):
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    expected = torch.stack([run(w) for w in weights])
    torch.testing.assert_close(torch.func.vmap(run)(weights), expected)


def test_forward_mode_says_that_it_is_missing():
    layer = DynamicLinear(7, 4, 3)
    x = torch.randn(5, 7)
    with pytest.raises(NotImplementedError, match="forward mode AD"):
        torch.func.jvp(layer, (x,), (x,))


def test_checkpointing_changes_nothing():
    layer = DynamicLinear(20, 6, 4)
    x = torch.randn(5, 20)
    plain = torch.autograd.grad(layer(x).square().sum(), layer.weight)[0]
    again = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)
    assert torch.equal(torch.autograd.grad(again.square().sum(), layer.weight)[0], plain)


@pytest.mark.parametrize(
    "optimizer, lr", [(torch.optim.SGD, 1.0), (torch.optim.AdamW, 0.1)], ids=["SGD", "AdamW"]
)
def test_trains_with_any_optimizer(optimizer, lr):
    layer = DynamicLinear(20, 3, 4)
    x = torch.rand(60, 20)
    labels = x[:, :3].argmax(1)
    optimizer = optimizer(layer.parameters(), lr=lr)
    losses = []
    for _ in range(100):
        loss = nn.functional.cross_entropy(layer(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_frozen_inputs_or_weights_get_no_gradient():
    layer = DynamicLinear(20, 6, 4)
    layer(torch.randn(5, 20)).sum().backward()
    layer.requires_grad_(False)
    x = torch.randn(5, 20, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("layer", [DynamicLinear, DynamicConv2d])
@pytest.mark.parametrize(
    "k, error, message",
    [
        (0, ValueError, r"k must be in 1 \.\. 20, the number of input units, got 0"),
        (-1, ValueError, "got -1"),
        (21, ValueError, "got 21"),
        (2.0, TypeError, "k must be an int, got 2.0"),
        (True, TypeError, "k must be an int, got True"),
    ],
)
def test_bad_k(layer, k, error, message):
    with pytest.raises(error, match=message):
        layer(20, 6, k)


@pytest.mark.parametrize("layer", [DynamicLinear, DynamicConv2d])
def test_bad_selection(layer):
    with pytest.raises(ValueError, match=r"selection must be one of .* got 'top'"):
        layer(20, 6, 4, selection="top")


@pytest.mark.parametrize("shape", [(), (19,), (2, 19)])
def test_bad_linear_input(shape):
    with pytest.raises(ValueError, match="DynamicLinear expects 20 input units, got an input of"):
        DynamicLinear(20, 6, 4)(torch.rand(shape))
    with pytest.raises(ValueError, match="DynamicLinear expects 20 input units, got an input of"):
        DynamicLinear(20, 6, 4).routes(torch.rand(shape))


def test_bad_conv_input():
    conv = DynamicConv2d(20, 6, 4)
    with pytest.raises(ValueError, match=r"expects \[n, m, h, w\] or \[m, h, w\], got \(2, 20\)"):
        conv(torch.rand(2, 20))
    with pytest.raises(ValueError, match="DynamicConv2d expects 20 input units"):
        conv(torch.rand(2, 19, 3, 3))


def test_bad_dtype():
    with pytest.raises(
        TypeError, match=r"must have one dtype, got torch.float64 and torch.float32"
    ):
        DynamicLinear(20, 6, 4)(torch.rand(2, 20, dtype=torch.float64))


def test_repr_names_k_and_selection():
    assert "k=4, selection='at_most_k'" in repr(DynamicLinear(20, 6, 4))
    assert "k=4, selection='exactly_k'" in repr(DynamicConv2d(20, 6, 4, selection="exactly_k"))

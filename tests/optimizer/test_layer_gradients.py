"""Weight gradients from input and output gradient, for every layer kind, against autograd."""

import pytest
import torch

from interpretable_sgd.optimizer.layer_gradients import per_sample, positions, weight_gradient
from tests.geometries import CASES, by_position, connections

BATCH = 3

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "_"))
def case(request):
    return CASES[request.param]


def backward(layer, x) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Output, its gradient and autograd's weight gradient of a nonlinear loss."""
    output = layer(x)
    output.retain_grad()
    (output.sin() * (1 + output)).sum().backward()
    return output.detach(), output.grad, layer.weight.grad


def close(actual, expected, **tolerance) -> None:
    torch.testing.assert_close(actual, expected, **({"rtol": 1e-12, "atol": 1e-12} | tolerance))


# Limits.


def test_an_empty_batch_has_gradient_zero(case):
    layer = case.layer()
    x = case.input(0)
    output = layer(x).detach()
    assert torch.equal(weight_gradient(layer, x, output), torch.zeros_like(layer.weight))
    inputs, outputs = positions(layer, x, output)
    assert per_sample(inputs, outputs).shape == (0, *layer.weight.flatten(1).shape)


# Values.


def test_the_weight_gradient_is_autograds(case):
    layer, x = case.layer(), case.input(BATCH)
    _, delta, gradient = backward(layer, x)
    close(weight_gradient(layer, x, delta), gradient)


def test_the_weight_gradient_without_a_batch_dimension(case):
    """Linear layers take the first dimension of several for the batch."""
    batches = len(case.shape) > 1 and case.kind is torch.nn.Linear
    layer, x = case.layer(), case.input(1)[0]
    _, delta, gradient = backward(layer, x)
    close(weight_gradient(layer, x, delta), gradient)
    inputs, outputs = positions(layer, x, delta)
    gradients = per_sample(inputs, outputs)
    assert len(gradients) == (len(x) if batches else 1)
    close(gradients.sum(0), gradient.flatten(1))


def test_the_values_of_the_weight_are_not_read(case):
    layer, x = case.layer(), case.input(BATCH)
    _, delta, gradient = backward(layer, x)
    torch.nn.init.constant_(layer.weight, torch.nan)
    close(weight_gradient(layer, x, delta), gradient)


def test_it_is_bilinear_in_tensors_of_any_meaning(case):
    """Squared operands give the second moment: sum_iu delta^2 x^2 by the same operation."""
    layer, x = case.layer(), case.input(BATCH)
    _, delta, _ = backward(layer, x)
    expected = torch.zeros_like(layer.weight).flatten(1)
    for x_i, delta_i in zip(x, delta, strict=True):
        seen, by_unit = connections(layer, x_i), by_position(layer, delta_i)
        for c, m in torch.cartesian_prod(*map(torch.arange, expected.shape)).tolist():
            pairs = zip(by_unit[c], seen[c][m], strict=True)
            expected[c, m] += sum(d * d * v * v for d, v in pairs)
    moment = weight_gradient(layer, x.square(), delta.square())
    close(moment.flatten(1), expected)


def test_the_weight_gradient_in_float32_with_float64_layers(case):
    layer, x = case.layer(), case.input(BATCH)
    _, delta, gradient = backward(layer, x)
    single = weight_gradient(layer, x.float(), delta.float())
    assert single.dtype == torch.float32
    close(single.double(), gradient, rtol=1e-4, atol=1e-4)


def test_positions_are_what_each_unit_sees_by_index(case):
    layer, x = case.layer(), case.input(BATCH)
    output = layer(x)
    inputs, outputs = positions(layer, x, output)
    groups = getattr(layer, "groups", 1)
    units = layer.weight.shape[0] // groups
    assert inputs.shape[:3] == (BATCH, groups, layer.weight[0].numel())
    assert outputs.shape[:3] == (BATCH, groups, units) and outputs.shape[3] == inputs.shape[3]
    for i in range(BATCH):
        seen, by_unit = connections(layer, x[i]), by_position(layer, output[i])
        for c in range(groups * units):
            assert inputs[i, c // units].tolist() == seen[c]
            assert outputs[i, c // units, c % units].tolist() == by_unit[c]


def test_positions_make_the_layer_a_product(case):
    """z = W x + b for every group and position."""
    layer, x = case.layer(), case.input(BATCH)
    inputs, outputs = positions(layer, x, layer(x))
    weight = layer.weight.reshape(inputs.shape[1], -1, inputs.shape[2])
    z = weight @ inputs
    if layer.bias is not None:
        z = z + layer.bias.reshape(weight.shape[0], -1, 1)
    close(z, outputs)


def test_per_sample_gradients_are_autograds_one_sample_at_a_time(case):
    layer, x = case.layer(), case.input(BATCH)
    _, delta, _ = backward(layer, x)
    gradients = per_sample(*positions(layer, x, delta))
    for i in range(BATCH):
        layer.weight.grad = None
        _, _, alone = backward(layer, x[i : i + 1])
        close(gradients[i], alone.flatten(1))


def test_per_sample_gradients_sum_to_the_weight_gradient(case):
    layer, x = case.layer(), case.input(BATCH)
    _, delta, gradient = backward(layer, x)
    close(per_sample(*positions(layer, x, delta)).sum(0), gradient.flatten(1))


def test_channels_last_tensors_have_the_same_gradient():
    case = CASES["conv2d, all geometry"]
    layer, x = case.layer(), case.input(BATCH)
    _, delta, gradient = backward(layer, x)
    strided = [t.to(memory_format=torch.channels_last) for t in (x, delta)]
    close(weight_gradient(layer, *strided), gradient)
    close(per_sample(*positions(layer, *strided)).sum(0), gradient.flatten(1))

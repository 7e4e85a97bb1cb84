"""Lemma 2: scores against the diagonal of the Hessian that autograd computes. Property 9.

Index legend: `i` sample, `c` output unit, `m` connection, `k` class, `u` position.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from interpretable_sgd.optimizer.algorithm3 import curvature, unit_dim
from interpretable_sgd.optimizer.layer_gradients import weight_gradient
from interpretable_sgd.optimizer.scores import (
    fisher_curvature,
    gate,
    log_logistic_curvature,
    log_softmax_curvature,
)

CLASSES, UNITS, BATCH = 4, 5, 6


def data(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def hessian_diagonal(loss, weight: torch.Tensor) -> torch.Tensor:
    """d^2 loss / d W_j^2 for every coordinate, by autograd."""
    hessian = torch.autograd.functional.hessian(loss, weight.detach())
    return hessian.reshape(weight.numel(), -1).diagonal().view_as(weight)


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


def softmax_curvature(z: torch.Tensor, dim: int = -1) -> torch.Tensor:
    return log_softmax_curvature(z, dim).exp()


def of_softmax(layer: nn.Module, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """sum_i p_ic (1 - p_ic) x_im^2, shape of the weight."""
    return weight_gradient(layer, x.square(), softmax_curvature(z, unit_dim(layer, z)))


def of_fisher(layer: nn.Module, x: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    """sum_i delta_ic^2 x_im^2, shape of the weight."""
    return weight_gradient(layer, x.square(), fisher_curvature(delta))


# Limits.


def test_gates_of_positive_layers_are_the_weights_constants_times_w_squared():
    weight, moments = data(3, UNITS).abs(), data(3, UNITS).square()
    close(gate(weight, moments, torch.zeros_like(moments)), weight.square() * moments)


def test_gates_count_positive_contributions_alone():
    weight = torch.tensor([[2.0, -2.0, 2.0, -2.0]])
    x = torch.tensor([3.0, 3.0, -3.0, -3.0])
    positive, negative = x.clamp(min=0).square(), x.clamp(max=0).square()
    assert gate(weight, positive, negative).tolist() == [[36.0, 0.0, 0.0, 36.0]]


# Values: the last layer.


def test_9_softmax_scores_are_the_hessian_diagonal_of_the_last_layer():
    layer, x, y = nn.Linear(UNITS, CLASSES).double(), data(BATCH, UNITS), torch.arange(6) % CLASSES
    z = layer(x)

    def loss(weight):
        return cross_entropy(x @ weight.T + layer.bias, y, reduction="sum")

    close(of_softmax(layer, x, z), hessian_diagonal(loss, layer.weight))


def test_9_fisher_scores_average_to_the_hessian_diagonal_over_the_models_own_labels():
    """E_{y ~ p} delta_c^2 x_m^2 = p_c (1 - p_c) x_m^2, exactly."""
    layer, x = nn.Linear(UNITS, CLASSES).double(), data(BATCH, UNITS)
    z = layer(x).detach()
    p = z.softmax(-1)
    expected = of_softmax(layer, x, z)
    mean = sum(
        of_fisher(layer, x, (p - torch.eye(CLASSES)[k]) * p[:, k, None].sqrt())
        for k in range(CLASSES)
    )
    close(mean, expected)


def test_9_gate_scores_are_the_hessian_diagonal_in_the_routing_variables():
    """d^2 f / d R_cm^2 at R = 1 is p_c (1 - p_c) (W_cm x_m)^2; of both signs of W x together."""
    weight, x, y = data(CLASSES, UNITS, seed=1), data(BATCH, UNITS), torch.arange(6) % CLASSES
    layer = nn.Linear(UNITS, CLASSES, bias=False).double()
    h = softmax_curvature(x @ weight.T)

    def loss(gates):
        return cross_entropy(x @ (gates * weight).T, y, reduction="sum")

    moments = [
        weight_gradient(layer, part.square(), h) for part in (x.clamp(min=0), x.clamp(max=0))
    ]
    positive, negative = gate(weight, *moments), gate(-weight, *moments)
    close(positive + negative, hessian_diagonal(loss, torch.ones_like(weight)))
    assert positive.any() and negative.any()


@pytest.mark.parametrize("score", ["fisher", "softmax", "gate"])
def test_every_score_by_its_formula_per_sample_and_coordinate(score: str):
    weight, x, delta = data(3, UNITS), data(BATCH, UNITS, seed=1), data(BATCH, 3, seed=2)
    layer = nn.Linear(UNITS, 3).double()
    z = data(BATCH, 3, seed=3)
    expected = torch.zeros_like(weight)
    for i in range(BATCH):
        p = z[i].softmax(0)
        for c in range(3):
            for m in range(UNITS):
                expected[c, m] += {
                    "gate": delta[i, c] ** 2 * (weight[c, m] * x[i, m]).clamp(min=0) ** 2,
                    "fisher": delta[i, c] ** 2 * x[i, m] ** 2,
                    "softmax": p[c] * (1 - p[c]) * x[i, m] ** 2,
                }[score]
    parts = [of_fisher(layer, part, delta) for part in (x.clamp(min=0), x.clamp(max=0))]
    found = {
        "gate": gate(weight, *parts),
        "fisher": of_fisher(layer, x, delta),
        "softmax": of_softmax(layer, x, z),
    }
    close(found[score], expected)


def test_9_logistic_scores_are_the_hessian_diagonal_of_a_head_of_one_logit():
    layer, x, y = nn.Linear(UNITS, 1).double(), data(BATCH, UNITS), data(BATCH, seed=1).sigmoid()
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    h = log_logistic_curvature(layer(x)).exp()
    diagonal = hessian_diagonal(
        lambda w: loss((x @ w.T + layer.bias)[:, 0], y, reduction="sum"), layer.weight
    )
    close(weight_gradient(layer, x.square(), h), diagonal)


@pytest.mark.parametrize("logit", [-400.0, -3.0, 0.0, 3.0, 400.0])
def test_the_log_of_the_logistic_curvature(logit: float):
    """It is that of a softmax over the logit and 0, and goes where p (1 - p) underflows."""
    z = torch.tensor([[logit]], dtype=torch.float64)
    pair = log_softmax_curvature(torch.cat([z, torch.zeros_like(z)], 1))
    close(log_logistic_curvature(z).expand(-1, 2), pair)


def test_the_global_constant_is_x_squared_over_4():
    z = data(1000, CLASSES) * 5
    assert (softmax_curvature(z) <= 0.25).all()
    close(softmax_curvature(torch.zeros(2).double()), torch.full((2,), 0.25).double())


# Values: hidden layers.


def hidden() -> tuple[nn.Linear, nn.Linear, torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    first, last = nn.Linear(UNITS, 7).double(), nn.Linear(7, CLASSES).double()
    return first, last, data(BATCH, UNITS), torch.arange(BATCH) % CLASSES


def test_9_hidden_relu_layers_have_the_hessian_diagonal_a_squared_times_var_of_the_jacobian():
    """h_c = Var_{k ~ p}(J_kc), J = dz / ds, exact a.e.; h <= (max J - min J)^2 / 4 (Popoviciu)."""
    first, last, a, y = hidden()
    s = first(a)
    J = torch.stack([last.weight * (s_i > 0) for s_i in s])
    p = last(s.relu()).softmax(-1)
    mean = torch.einsum("ik,ikc->ic", p, J)
    h = torch.einsum("ik,ikc->ic", p, (J - mean[:, None]).square())

    def loss(weight):
        return cross_entropy(last((a @ weight.T + first.bias).relu()), y, reduction="sum")

    close(weight_gradient(first, a.square(), h), hessian_diagonal(loss, first.weight))
    spread = (J.max(1).values - J.min(1).values).square() / 4
    assert (h <= spread * (1 + 1e-12)).all()


def test_9_within_a_row_of_one_sample_the_activation_squared_is_the_exact_ranking():
    first, last, a, y = hidden()

    def loss(weight):
        return cross_entropy(last((a[:1] @ weight.T + first.bias).relu()), y[:1], reduction="sum")

    diagonal = hessian_diagonal(loss, first.weight)
    alive = diagonal.sum(-1) > 0
    assert alive.sum() >= 2
    ratios = (diagonal / a[:1].square())[alive]
    close(ratios, ratios[:, :1].expand_as(ratios))


def test_9_fisher_scores_of_a_hidden_relu_layer_average_to_the_hessian_diagonal():
    first, last, a, y = hidden()
    s = first(a).detach().requires_grad_()
    logits = last(s.relu())
    p = logits.softmax(-1).detach()
    mean = torch.zeros_like(first.weight)
    for k in range(CLASSES):
        loss = cross_entropy(logits, torch.full((BATCH,), k), reduction="sum")
        (delta,) = torch.autograd.grad(loss, s, retain_graph=True)
        mean += of_fisher(first, a, delta * p[:, k, None].sqrt())

    def loss_of(weight):
        return cross_entropy(last((a @ weight.T + first.bias).relu()), y, reduction="sum")

    close(mean, hessian_diagonal(loss_of, first.weight))


# Values: convolutions.


def test_9_per_position_cross_entropy_of_a_1x1_convolution_is_the_plain_sum():
    torch.manual_seed(0)
    layer = nn.Conv2d(UNITS, CLASSES, 1).double()
    x = data(2, UNITS, 3, 2)
    y = torch.arange(12).view(2, 3, 2) % CLASSES

    def loss(weight):
        z = torch.nn.functional.conv2d(x, weight, layer.bias)
        return cross_entropy(z, y, reduction="sum")

    z = layer(x)
    close(of_softmax(layer, x, z), hessian_diagonal(loss, layer.weight))


def test_9_global_average_pooling_of_a_1x1_convolution_has_the_squared_mean():
    """p (1 - p) (mean_u a)^2; the mean over positions of a^2 would overestimate it."""
    torch.manual_seed(0)
    layer = nn.Conv2d(UNITS, CLASSES, 1).double()
    x, y = data(3, UNITS, 2, 2), torch.tensor([0, 1, 2])

    def loss(weight):
        z = torch.nn.functional.conv2d(x, weight, layer.bias).mean((2, 3))
        return cross_entropy(z, y, reduction="sum")

    h = softmax_curvature(layer(x).mean((2, 3)))
    exact = torch.einsum("ic,im->cm", h, x.mean((2, 3)).square())
    diagonal = hessian_diagonal(loss, layer.weight).flatten(1)
    close(exact, diagonal)
    over = torch.einsum("ic,im->cm", h, x.square().mean((2, 3)))
    assert (over >= diagonal).all() and (over > diagonal * 1.01).any()


def test_9_convolutions_are_bounded_by_the_number_of_positions_times_the_sum():
    """Var_p(sum_u J_cu a_u) = exact <= U sum_u a_u^2 h_cu; the sum alone is no bound."""
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 3, 2).double()
    last = nn.Linear(3, CLASSES).double()
    x, y = data(4, 1, 4, 4).abs(), torch.arange(4)

    def network(weight):
        s = torch.nn.functional.conv2d(x, weight, layer.bias)
        return last(s.relu().mean((2, 3)))

    diagonal = hessian_diagonal(
        lambda w: cross_entropy(network(w), y, reduction="sum"), layer.weight
    )
    s = layer(x)
    p = last(s.relu().mean((2, 3))).softmax(-1)
    J = torch.einsum("kc,icuv->ikcuv", last.weight, (s > 0).double() / 9)
    mean = torch.einsum("ik,ikcuv->icuv", p, J)
    h = torch.einsum("ik,ikcuv->icuv", p, (J - mean[:, None]).square())

    patches = x.unfold(2, 2, 1).unfold(3, 2, 1)[:, 0]
    moved = torch.einsum("ikcuv,iuvab->ikcab", J, patches)
    centred = moved - torch.einsum("ik,ikcab->icab", p, moved)[:, None]
    exact = torch.einsum("ik,ikcab->cab", p, centred.square())
    close(exact, diagonal[:, 0])

    plain = weight_gradient(layer, x.square(), h)
    assert (diagonal <= 9 * plain * (1 + 1e-12)).all()
    assert (diagonal > plain * 1.5).any()


# Precision.


@pytest.mark.parametrize("confidence", [40.0, 80.0])
def test_softmax_curvature_does_not_underflow_where_p_is_near_1(confidence: float):
    """1 - p of a confidently wrong class is the sum of the others, not 0."""
    z = torch.tensor([confidence, 0.0, -1.0])
    exact = softmax_curvature(z.double())
    h = softmax_curvature(z)
    p = z.softmax(0)
    assert float((p * (1 - p))[0]) == 0 < float(h[0])
    torch.testing.assert_close(h.double(), exact, rtol=1e-5, atol=0)
    assert h[0] == pytest.approx(float(h[1] + h[2]), rel=1e-5)


def test_the_log_of_the_curvature_goes_where_the_curvature_underflows():
    """log p (1 - p) -> -|a| for two classes with logits a apart."""
    z = torch.tensor([[400.0, 0.0], [0.0, 0.0], [-30.0, 0.0]])
    logs = log_softmax_curvature(z)
    assert not softmax_curvature(z)[0].any()
    expected = torch.tensor([-400.0, 2 * math.log(0.5), -30.0])[:, None].expand(-1, 2)
    torch.testing.assert_close(logs, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("is_head", [True, False])
def test_curvature_differs_from_the_scores_by_one_factor_per_sample(is_head: bool):
    z, delta = data(BATCH, CLASSES, 3), data(BATCH, CLASSES, 3, seed=1)
    plain = softmax_curvature(z, 1) if is_head else fisher_curvature(delta)
    relative = curvature(is_head, z, delta, 1)
    close(relative, plain / plain.amax((1, 2), keepdim=True))


def test_curvature_keeps_samples_that_underflow():
    """Logits 400 apart: h is 0 in float32, the ratios within the sample are not."""
    z = torch.tensor([[400.0, 0.0, -1.0]])
    assert not softmax_curvature(z).any()
    # The two others share 1 - p as 1 : 1 / e.
    expected = torch.tensor([[1.0, math.e / (1 + math.e), 1 / (1 + math.e)]])
    torch.testing.assert_close(curvature(True, z, z, -1), expected, rtol=1e-4, atol=0)
    tiny = torch.tensor([[2e-30, 1e-30, 0.0]])
    assert not fisher_curvature(tiny).any()
    torch.testing.assert_close(curvature(False, tiny, tiny, -1), torch.tensor([[1.0, 0.25, 0.0]]))


def test_curvature_of_one_logit_is_the_logistic_one():
    """A softmax over one unit has none, so that nothing would ever be selected."""
    z = torch.tensor([[400.0], [0.0]])
    assert torch.equal(curvature(True, z, z, -1), torch.ones(2, 1))


def test_curvature_of_a_sample_without_any_is_0():
    zero = torch.zeros(2, 3)
    assert torch.equal(curvature(False, zero, zero, -1), zero)


def test_softmax_curvature_along_another_dimension():
    z = data(2, CLASSES, 3)
    close(softmax_curvature(z, 1), softmax_curvature(z.mT, -1).mT)
    p = z.softmax(1)
    close(softmax_curvature(z, 1), p * (1 - p))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_curvature_is_at_least_float32(dtype):
    """1e-4 squared is 0 in float16."""
    delta = torch.full((2, 3), 1e-4, dtype=dtype)
    assert [curvature(is_head, delta, delta, -1).dtype for is_head in (True, False)] == [
        torch.float32
    ] * 2
    assert fisher_curvature(delta).dtype == torch.float32 and (fisher_curvature(delta) > 0).all()
    assert fisher_curvature(delta.double()).dtype == torch.float64

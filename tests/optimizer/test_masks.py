"""From constants to masks. Properties 6, 7 and 9; the bias diagnostic.

z-tests: exact standard errors, Bonferroni over at most 24 coordinates at alpha = 1e-3: |z| < 4.1.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from interpretable_sgd.optimizer import masks
from interpretable_sgd.optimizer.layer_gradients import per_sample, positions
from interpretable_sgd.optimizer.masks import Rule, bias_ratio, masked_gradient, statistic, unit_dim
from interpretable_sgd.optimizer.probabilities import literal, waterfill
from interpretable_sgd.optimizer.sampling import bernoulli, fold, systematic
from interpretable_sgd.optimizer.scores import SCORES
from tests.geometries import CASES

RULE = Rule(
    block_size=2,
    sparsity=0.0,
    lipschitz="weight",
    probabilities="waterfill",
    draw="independent",
    floor=0.05,
    unbiased=False,
)
Z, COPIES = 4.1, 20_000
UNGATED = [name for name, score in SCORES.items() if not score.gated]

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def data(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def problem(samples: int = 3, units: int = 6, classes: int = 4):
    """Layer, inputs, outputs and output gradients of a softmax head."""
    torch.manual_seed(0)
    layer = nn.Linear(units, classes).double()
    x, y = data(samples, units, seed=1), torch.arange(samples) % classes
    z = layer(x).detach()
    return layer, x, z, z.softmax(-1) - torch.eye(classes)[y]


def exact(rule: Rule, layer, x, z, delta) -> tuple[torch.Tensor, torch.Tensor]:
    """pi_icm and g_icm, read from one-sample calls."""
    alone = [[t[i, None] for t in (x, z, delta)] for i in range(len(x))]
    sums = torch.stack([masked_gradient(rule, 0, layer, *sample)[1] for sample in alone])
    return sums[:, 1], sums[:, 2]


def close(actual, expected, atol: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=atol)


# Limits.


@pytest.mark.parametrize("draw", ["independent", "unit"])
@pytest.mark.parametrize("unbiased", [False, True])
def test_9_limit_a_block_as_large_as_the_row_is_the_gradient(draw: str, unbiased: bool):
    layer, x, z, delta = problem()
    for block in (6, 7.5):
        rule = replace(RULE, block_size=block, draw=draw, unbiased=unbiased)
        masked, sums = masked_gradient(rule, 5, layer, x, z, delta)
        close(masked, delta.T @ x)
        assert (sums[3] == 3).all() and (sums[4] == 3).all()


@pytest.mark.parametrize("probabilities", ["waterfill", "paper"])
@pytest.mark.parametrize("draw", ["independent", "unit"])
def test_limit_an_empty_poisson_batch_has_u_0(probabilities: str, draw: str):
    layer, x, z, delta = problem()
    rule = replace(RULE, probabilities=probabilities, draw=draw)
    masked, sums = masked_gradient(rule, 0, layer, x[:0], z[:0], delta[:0])
    assert torch.equal(masked, torch.zeros(4, 6).double())
    assert torch.equal(sums, torch.zeros(5, 4, 6).double())


def test_limit_an_empty_batch_of_a_convolution_has_u_0():
    layer, x = CASES["conv2d, all geometry"].layer(), CASES["conv2d, all geometry"].input(0)
    z = layer(x).detach()
    masked, sums = masked_gradient(RULE, 0, layer, x, z, z)
    assert torch.equal(masked, torch.zeros_like(layer.weight)) and not sums.any()


def test_rows_without_information_are_uniform():
    G = torch.tensor([[0.0, 0, 0, 0], [4, 3, 2, 1]]).double()
    for sparsity in (-1.0, 0.0, 0.5, 1):
        rule = replace(RULE, sparsity=sparsity)
        close(rule.responsibility(G)[0], torch.full((4,), 0.5).double())
        close(rule.responsibility(G)[1], waterfill(G[1], 2, sparsity))
        wide = replace(rule, block_size=9)
        assert (wide.responsibility(G) == 1).all() and (wide.probability(G.sign()) <= 1).all()
        # One row at a time, as in masks per sample.
        assert torch.equal(rule.responsibility(G[:, None])[:, 0], rule.responsibility(G))


def test_the_paper_selects_nothing_where_it_has_no_information():
    rule = replace(RULE, probabilities="paper")
    assert not rule.responsibility(torch.zeros(3, 4)).any()


def test_the_floor_is_mixed_in_after_the_responsibility():
    G = data(3, 8).square()
    pi = RULE.responsibility(G)
    close(RULE.probability(pi), 0.95 * pi + 0.05 * 2 / 8)
    assert torch.equal(replace(RULE, floor=0.0).probability(pi), pi)
    close(RULE.probability(pi).sum(-1), torch.full((3,), 2.0).double())


def test_paper_probabilities_normalise_over_the_layer_and_waterfill_over_the_row():
    G = data(3, 8).square()
    paper = replace(RULE, probabilities="paper").responsibility(G)
    close(paper.sum(), torch.tensor(1.0).double())
    close(RULE.responsibility(G).sum(-1), torch.full((3,), 2.0).double())


def test_shared_masks_come_from_the_chosen_sampler():
    pi = torch.full((50, 8), 0.3)
    assert torch.equal(RULE.select(pi, 3), bernoulli(pi, 3))
    assert torch.equal(replace(RULE, draw="systematic").select(pi, 3), systematic(pi, 3))


# Unit masks.


def test_6_unit_masks_are_the_water_filling_of_the_product_only_if_unsaturated():
    """u (x) v with K = K_u K_v; where a factor saturates the two differ by more than 0.1."""
    a, b = torch.tensor([3.0, 2, 2, 1]).double(), torch.tensor([2.0, 1, 1, 1, 1, 1]).double()
    ku, kv = 1.3, 2.0
    for scale, saturated in ((1.0, False), (9.0, True)):
        v = b.clone()
        v[0] *= scale
        pi_u, pi_v = waterfill(a, ku, 0), waterfill(v, kv, 0)
        assert bool((pi_v == 1).any()) == saturated and (pi_u < 1).all()
        product = waterfill(torch.outer(a, v).flatten(), ku * kv, 0).view(4, 6)
        difference = float((torch.outer(pi_u, pi_v) - product).abs().max())
        assert (difference > 0.1) if saturated else (difference < 1e-15)


def test_6_literal_probabilities_of_a_product_are_the_product():
    h, v = data(4, 1).square(), data(1, 6, seed=1).square()
    for s in (-1.0, 0.0, 0.5):
        close(literal(h * v, s), literal(h, s) * literal(v, s), atol=1e-15)


@pytest.mark.parametrize("score", UNGATED)
@pytest.mark.parametrize("sparsity", [-1.0, 0.0, 0.5, 1])
def test_6_row_wise_probabilities_are_identical_over_classes(score: str, sparsity: float):
    """h_ic cancels in a row: every class gets the same units."""
    layer, x, z, delta = problem()
    rule = replace(RULE, lipschitz=score, sparsity=sparsity, floor=0.0)
    pi, _ = exact(rule, layer, x, z, delta)
    close(pi, pi[:, :1].expand_as(pi), atol=1e-14)
    close(pi[:, 0], waterfill(x.square(), 2, sparsity), atol=1e-13)


@pytest.mark.parametrize("probabilities", ["waterfill", "paper"])
@pytest.mark.parametrize("score", UNGATED)
def test_unit_draws_have_the_marginals_of_independent_ones(probabilities, score):
    layer, x, z, delta = problem()
    floor = 0.0 if probabilities == "paper" else 0.2
    rule = replace(RULE, probabilities=probabilities, lipschitz=score, floor=floor)
    independent, _ = exact(rule, layer, x, z, delta)
    unit, _ = exact(replace(rule, draw="unit"), layer, x, z, delta)
    close(unit, independent, atol=1e-14)


@pytest.mark.parametrize("probabilities", ["waterfill", "paper"])
def test_9_rank_one_masks_are_one_product_and_the_explicit_masked_sum(probabilities: str):
    """(U * delta)' (V * x) = sum_i q_i * g_i with q_icm = u_ic v_im."""
    layer, x, z, delta = problem(samples=40)
    rule = replace(RULE, probabilities=probabilities, draw="unit", floor=0.0)
    key = fold(4)
    masked, _ = masked_gradient(rule, key, layer, x, z, delta)
    h, squares = delta.square()[:, None], x.square()[:, None]
    if probabilities == "paper":
        pi_u, pi_v = literal(h, 0), literal(squares, 0)
    else:
        pi_u, pi_v = torch.ones_like(h), waterfill(squares, 2, 0)
    chunk = fold(key, 0)
    u = bernoulli(pi_u, fold(chunk, 0))[:, 0].double()
    v = bernoulli(pi_v, fold(chunk, 1))[:, 0].double()
    explicit = torch.zeros(4, 6).double()
    for i in range(40):
        for c in range(4):
            for m in range(6):
                explicit[c, m] += u[i, c] * v[i, m] * delta[i, c] * x[i, m]
    close((u * delta).T @ (v * x), explicit)
    close(masked, explicit)
    assert explicit.any() and (explicit - delta.T @ x).abs().max() > 0.1


@pytest.mark.parametrize("name", ["linear, positions", "conv2d", "conv2d, all geometry"])
def test_unit_draws_of_several_positions_are_refused(name: str):
    layer, x = CASES[name].layer(), CASES[name].input(2)
    z = layer(x).detach()
    message = r"draw='unit' needs Linear layers on \(batch, features\)"
    with pytest.raises(ValueError, match=message):
        masked_gradient(replace(RULE, draw="unit"), 0, layer, x, z, z)


def test_unit_draws_of_two_groups_are_refused():
    layer, x = nn.Conv2d(4, 4, 3, groups=2), data(2, 4, 3, 3).float()
    z = layer(x).detach()
    assert z.shape == (2, 4, 1, 1)
    with pytest.raises(ValueError, match=r"^draw='unit' needs Linear"):
        masked_gradient(replace(RULE, draw="unit"), 0, layer, x, z, z)


# Means of masked gradients.


def tiled(rule: Rule, draws: int = COPIES):
    """One call on many copies of every sample: mean masked gradient, pi_icm and g_icm."""
    layer, x, z, delta = problem()
    pi, g = exact(rule, layer, x, z, delta)
    copies = [t.repeat(draws, 1) for t in (x, z, delta)]
    masked, sums = masked_gradient(rule, fold(7), layer, *copies)
    return masked / draws, sums / draws, pi, g


@pytest.mark.parametrize("probabilities", ["waterfill", "paper"])
@pytest.mark.parametrize(
    ("draw", "score"),
    [("independent", score) for score in SCORES] + [("unit", score) for score in UNGATED],
)
def test_5_marginals_of_per_sample_masks(draw, score, probabilities):
    """n = 2e4 copies of 3 samples, 24 coordinates."""
    rule = replace(RULE, draw=draw, probabilities=probabilities, lipschitz=score)
    if probabilities == "paper":
        rule = replace(rule, floor=0.0)
    _, sums, pi, _ = tiled(rule)
    error = (pi * (1 - pi)).sum(0).div(COPIES).sqrt()
    z = (sums[3] - pi.sum(0)) / error.clamp(min=1e-300)
    assert torch.where(error > 0, z, 0).abs().max() < Z
    close(sums[1], pi.sum(0), atol=1e-9)


@pytest.mark.parametrize("draw", ["independent", "unit"])
def test_7_unbiased_masks_have_mean_g(draw: str):
    """E[Q g / pi] = g: exact variance g^2 (1 - pi) / pi, n = 2e4 copies of 3 samples."""
    masked, _, pi, g = tiled(replace(RULE, draw=draw, unbiased=True))
    error = (g.square() * (1 - pi) / pi).sum(0).div(COPIES).sqrt()
    assert ((masked - g.sum(0)) / error).abs().max() < Z


@pytest.mark.parametrize("draw", ["independent", "unit"])
def test_7_biased_masks_have_mean_sum_pi_i_g_i_and_not_pi_times_the_gradient(draw: str):
    """E = sum_i Pi_i g_i, n = 2e4; Pibar grad F is off by more than 10 standard errors."""
    masked, sums, pi, g = tiled(replace(RULE, draw=draw))
    error = (g.square() * pi * (1 - pi)).sum(0).div(COPIES).sqrt()
    assert ((masked - (pi * g).sum(0)) / error).abs().max() < Z
    assert ((masked - pi.mean(0) * g.sum(0)) / error).abs().max() > 10
    close(sums[0], (pi * g).sum(0), atol=1e-9)


@pytest.mark.parametrize("sampler", ["independent", "systematic"])
def test_7_shared_masks_have_mean_pi_times_the_gradient(sampler: str):
    """E[Q g] = pi g and E[Q g / pi] = g over n = 4000 steps, 48 z-values: |z| < 4.3."""
    rule = replace(RULE, draw=sampler)
    layer, x, z, delta = problem()
    g = delta.T @ x
    pi = rule.probability(rule.responsibility(statistic("weight", False, layer, x, z, delta)[0]))
    q = torch.stack([rule.select(pi, fold(0, step, 0)) for step in range(4000)]).double()
    error = (pi * (1 - pi) / 4000).sqrt() * g.abs()
    varied = error > 0
    for scale in (torch.ones_like(pi), 1 / pi):
        difference = ((q * g * scale).mean(0) - pi * g * scale)[varied]
        assert (difference / (error * scale)[varied]).abs().max() < 4.3


def test_7_masks_differ_between_samples_steps_and_chunks():
    layer, x, z, delta = problem(samples=1)
    x, z, delta = (t.expand(64, -1) for t in (x, z, delta))
    first, second = (masked_gradient(RULE, key, layer, x, z, delta)[1][3] for key in (1, 2))
    assert not torch.equal(first, second)
    assert ((first > 0) & (first < 64)).any()


@pytest.mark.parametrize("chunk", [1, 24, 50, 1 << 22])
def test_chunks_of_samples_change_draws_and_nothing_else(monkeypatch, chunk: int):
    """24 coordinates a sample: one sample, one, two, or all 5 at a time."""
    monkeypatch.setattr(masks, "_CHUNK", chunk)
    monkeypatch.setattr(masks, "bernoulli", lambda pi, key: pi > 0.3)
    layer, x, z, delta = problem(samples=5)
    masked, sums = masked_gradient(RULE, 0, layer, x, z, delta)
    pi, g = exact(RULE, layer, x, z, delta)
    close(masked, torch.where(pi > 0.3, g, 0).sum(0))
    close(sums, torch.stack([pi * g, pi, g, (pi > 0.3).double(), torch.ones_like(g)]).sum(1))


def test_chunks_draw_from_streams_of_their_own(monkeypatch):
    monkeypatch.setattr(masks, "_CHUNK", 24)
    keys = []
    monkeypatch.setattr(masks, "bernoulli", lambda pi, key: keys.append(key) or pi > 2)
    masked_gradient(RULE, 9, *problem(samples=5))
    assert len(set(keys)) == 5


@pytest.mark.parametrize("probabilities", ["paper", "waterfill"])
@pytest.mark.parametrize("score", ["weight", "softmax", "activation", "gate"])
@pytest.mark.parametrize("name", ["linear", "conv1d", "conv2d, all geometry", "conv3d"])
def test_an_input_without_a_batch_dimension_is_one_sample(name, score, probabilities):
    layer, x = CASES[name].layer(), CASES[name].input(1)
    z = layer(x).detach()
    delta = data(*z.shape)
    rule = replace(RULE, lipschitz=score, probabilities=probabilities)
    batched = masked_gradient(rule, 3, layer, x, z, delta)
    alone = masked_gradient(rule, 3, layer, x[0], z[0], delta[0])
    close(alone[0], batched[0])
    close(alone[1], batched[1])


def test_a_confident_sample_in_float32_has_masks_of_its_own():
    """A loss of e^-60 leaves delta^2 and p (1 - p) below float32, but not their ratios."""
    layer, x, _, _ = problem(samples=1)
    layer, x = layer.float(), x.float()
    z = torch.tensor([[60.0, 0.0, -1.0, -2.0]])
    delta = z.softmax(-1) - torch.eye(4)[:1]
    delta[0, 0] = -delta[0, 1:].sum()
    for score in ("weight", "softmax"):
        for probabilities in ("paper", "waterfill"):
            rule = replace(RULE, lipschitz=score, probabilities=probabilities, floor=0.0)
            sums = masked_gradient(rule, 0, layer, x, z, delta * 1e26)[1]
            again = masked_gradient(rule, 0, layer, x, z, delta)[1]
            expected = 1.0 if probabilities == "paper" else 2.0 * 4
            assert float(sums[1].sum()) == pytest.approx(expected, rel=1e-4)
            torch.testing.assert_close(again[1], sums[1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("probabilities", ["paper", "waterfill"])
@pytest.mark.parametrize("score", SCORES)
def test_a_gradient_that_is_not_finite_is_never_masked_away(score, probabilities, bad):
    """Gradient scaling and NaN checks read `.grad`: one bad sample of three must show there."""
    layer, x, z, delta = problem()
    delta[0, 1] = bad
    rule = replace(RULE, lipschitz=score, probabilities=probabilities, block_size=1, floor=0.0)
    for key in range(20):
        masked, _ = masked_gradient(rule, key, layer, x, z, delta)
        assert not masked[1].isfinite().any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_masked_gradients_have_the_weights_dtype_and_sums_at_least_float32(dtype):
    layer, x, z, delta = problem()
    rule = replace(RULE, block_size=6)
    layer = layer.to(dtype)
    masked, sums = masked_gradient(rule, 0, layer, *(t.to(dtype) for t in (x, z, delta)))
    assert masked.dtype == dtype and sums.dtype == torch.float32
    torch.testing.assert_close(masked.double(), delta.T @ x, rtol=3e-2, atol=3e-2)


# The routed network of Algorithm 2 (Dynamic-K).


def routed(weight: torch.Tensor, x: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Y_c = sum of the K largest positive W_cm x_m, and which they are."""
    parts = weight * x[:, None]
    chosen = torch.zeros_like(parts).scatter(-1, parts.topk(k).indices, 1.0) * (parts > 0)
    return (parts * chosen).sum(-1), chosen


def test_9_i1_contribution_masks_at_routed_logits_are_the_dynamic_k_gradient():
    """sum_i R_i * (delta_i x_i') with delta at the routed logits = autograd through Y.

    Every row has a positive contribution: without one, the library explores uniformly.
    """
    layer, x, _, _ = problem(samples=12)
    x[:, 0].abs_()
    layer.weight.data[:, 0].abs_()
    y = torch.arange(12) % 4
    rule = replace(RULE, lipschitz="contribution", sparsity=1, floor=0.0)
    weight = layer.weight.detach().clone().requires_grad_()
    z, _ = routed(weight, x, 2)
    z.retain_grad()
    cross_entropy(z, y).backward()
    masked, _ = masked_gradient(rule, 0, layer, x, z.detach(), z.grad)
    close(masked, weight.grad)
    dense = layer(x).detach().requires_grad_()
    cross_entropy(dense, y).backward()
    elsewhere, _ = masked_gradient(rule, 0, layer, x, dense.detach(), dense.grad)
    assert (elsewhere - weight.grad).norm() / weight.grad.norm() > 0.1


def test_9_i6_a_routed_forward_with_contribution_masks_trains_as_the_dynamic_k_network():
    """200 steps of SGD, positive inputs so that no row loses all its contributions."""
    layer, x, _, _ = problem(samples=12)
    x, y = x.abs(), torch.arange(12) % 4
    rule = replace(RULE, lipschitz="contribution", sparsity=1, floor=0.0)
    layer.weight.data.abs_()
    weight = layer.weight.detach().clone().requires_grad_()
    sgd = torch.optim.SGD([weight], lr=0.1)
    for step in range(200):
        sgd.zero_grad()
        cross_entropy(routed(weight, x, 2)[0], y).backward()
        sgd.step()
        z = routed(layer.weight.detach(), x, 2)[0].requires_grad_()
        cross_entropy(z, y).backward()
        masked, _ = masked_gradient(rule, step, layer, x, z.detach(), z.grad)
        layer.weight.data -= 0.1 * masked
    close(layer.weight.detach(), weight.detach())


# The bias diagnostic.


def test_theta_is_0_without_bias():
    """One sample, or equal probabilities: C = Cov_i(pi_i, g_i) = 0."""
    layer, x, z, delta = problem()
    one = masked_gradient(RULE, 0, layer, x[:1], z[:1], delta[:1])[1]
    assert bias_ratio(one).max() < 1e-24
    equal = masked_gradient(replace(RULE, block_size=6), 0, layer, x, z, delta / 3)[1]
    assert bias_ratio(equal).max() < 1e-24


def test_theta_by_its_formula():
    """theta_j = C_j^2 / (pibar_j d_j F)^2, C_j = mean_i pi_ij g_ij - pibar_j d_j F."""
    layer, x, z, delta = problem()
    pi, g = exact(RULE, layer, x, z, delta)
    C = (pi * g).mean(0) - pi.mean(0) * g.mean(0)
    expected = (C / (pi.mean(0) * g.mean(0))).square()
    sums = masked_gradient(RULE, 0, layer, x, z, delta / 3)[1]
    torch.testing.assert_close(bias_ratio(sums), expected, rtol=1e-9, atol=0)


def test_theta_is_1_where_the_biased_mean_step_vanishes():
    """CE1 at w_h = (15/17, -15/17): mean_i pi_i g_i = 0 although grad F = (12/17, -12/17)."""
    layer = nn.Linear(2, 1, bias=False).double()
    layer.weight.data = torch.tensor([[15, -15]]).double() / 17
    x = torch.tensor([[[2.0, 0], [0, 1]], [[1, 0], [0, 2]]]).double()
    target = torch.tensor([[2.0, 1], [-1, -2]]).double()
    z = layer(x).detach()
    delta = (z - target[..., None]) / 2
    rule = replace(RULE, block_size=1, lipschitz="activation", floor=0.0, probabilities="paper")
    _, sums = masked_gradient(rule, 0, layer, x, z, delta)
    close(sums[0], torch.zeros(1, 2).double())
    close(sums[2], torch.tensor([[12, -12]]).double() / 17)
    close(sums[1] / 2, torch.tensor([[0.5, 0.5]]).double())
    close(bias_ratio(sums), torch.ones(1, 2).double())


def test_theta_of_coordinates_that_never_move_is_0_and_of_pure_bias_inf():
    assert not bias_ratio(torch.zeros(5, 2, 3)).any()
    pure = torch.tensor([0.1, 0.5, 0.0, 1.0, 2.0])[:, None]
    assert bias_ratio(pure).tolist() == [float("inf")]


# Geometry.


@pytest.mark.parametrize("name", CASES, ids=lambda name: name.replace(" ", "_"))
def test_unit_dim_and_statistics_of_every_layer(name: str):
    """sum_i h_ic x_im^2 with a row of x of each sign, against per-sample sums over positions."""
    layer, x = CASES[name].layer(), CASES[name].input(3)
    z = layer(x).detach()
    assert z.shape[unit_dim(layer, z)] == len(layer.weight)
    delta = data(*z.shape)
    signed = statistic("weight", True, layer, x, z, delta)
    assert signed.shape == (2, *layer.weight.flatten(1).shape)
    for part, inputs in zip(signed, (x.clamp(min=0), x.clamp(max=0)), strict=True):
        squares = positions(layer, inputs.square(), delta.square())
        close(part, per_sample(*squares).sum(0))
    close(signed.sum(0), statistic("weight", False, layer, x, z, delta)[0])
    softmax = statistic("softmax", False, layer, x, z, delta)
    p = z.softmax(unit_dim(layer, z))
    squares = positions(layer, x.square(), p * (1 - p))
    close(softmax[0], per_sample(*squares).sum(0))


def test_unit_draws_of_two_positions_are_refused_too():
    layer, x = nn.Linear(3, 2), torch.randn(4, 2, 3)
    with pytest.raises(ValueError, match=r"^draw='unit' needs Linear"):
        masked_gradient(replace(RULE, draw="unit"), 0, layer, x, layer(x), layer(x))


def test_7_unbiased_unit_draws_of_literal_probabilities_have_mean_g():
    """Both factors are below 1 here, so both are divided by; n = 2e4 copies of 3 samples."""
    literal_rule = {"probabilities": "paper", "floor": 0.0, "sparsity": -3.0}
    masked, _, pi, g = tiled(replace(RULE, draw="unit", unbiased=True, **literal_rule))
    assert pi.min() * COPIES > 100 and pi.max() < 1
    error = (g.square() * (1 - pi) / pi).sum(0).div(COPIES).sqrt()
    assert ((masked - g.sum(0)) / error).abs().max() < Z

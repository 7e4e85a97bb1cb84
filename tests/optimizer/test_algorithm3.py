"""Per-sample masks against the literal twin, coordinate by coordinate, at the same draws.

The draws are the library's own: uniform numbers of the key that the library hands its sampler.
"""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer import masks
from interpretable_sgd.optimizer.masks import Rule, masked_gradient, unit_dim
from interpretable_sgd.optimizer.sampling import bernoulli, fold, uniform
from tests import literal
from tests.geometries import CASES, by_position, connections

BATCH = 3
PAPER = Rule(
    block_size=1,
    sparsity=0.0,
    lipschitz="weight",
    probabilities="paper",
    draw="independent",
    floor=0.0,
    unbiased=False,
)
WATERFILL = replace(PAPER, block_size=1.5, probabilities="waterfill", floor=0.1)
RULES = {
    "paper, s = 0": PAPER,
    "paper, s = .5": replace(PAPER, sparsity=0.5, lipschitz="softmax"),
    "paper, s = -2, unbiased": replace(PAPER, sparsity=-2.0, unbiased=True),
    "waterfill, s = 0": WATERFILL,
    "waterfill, s = .5, gate": replace(WATERFILL, sparsity=0.5, lipschitz="gate"),
    "waterfill, s = 1, contribution": replace(WATERFILL, sparsity=1, lipschitz="contribution"),
    "waterfill, s = -1, unbiased": replace(
        WATERFILL, sparsity=-1.0, lipschitz="softmax", unbiased=True
    ),
    "waterfill, s = .9, no floor": replace(
        WATERFILL, sparsity=0.9, block_size=1.25, lipschitz="activation", floor=0.0
    ),
}
GATED = ("gate", "contribution")

pytestmark = pytest.mark.filterwarnings(
    "ignore:masks per sample", "ignore:Using padding='same' with even kernel"
)


def twin(rule: Rule, layer, x, z, delta, uniforms) -> tuple[torch.Tensor, torch.Tensor]:
    """The oracle's masked gradient and pi_icm."""
    kind = {"softmax": "softmax", "weight": "fisher", "gate": "fisher"}.get(rule.lipschitz, "one")
    dim = unit_dim(layer, z)
    p = z.softmax(dim)
    h = {"softmax": p * (1 - p), "fisher": delta**2, "one": torch.ones_like(z)}[kind]
    total, pi = literal.masked_gradient(
        layer.weight.detach().flatten(1).tolist(),
        [connections(layer, x_i) for x_i in x],
        [by_position(layer, h_i) for h_i in h],
        [by_position(layer, d_i) for d_i in delta],
        uniforms.tolist(),
        gated=rule.lipschitz in GATED,
        kind=rule.probabilities,
        sparsity=rule.sparsity,
        block_size=rule.block_size,
        floor=rule.floor,
        unbiased=rule.unbiased,
    )
    return tuple(torch.tensor(values, dtype=torch.float64) for values in (total, pi))


def draws(key: int, layer, batch: int) -> torch.Tensor:
    return uniform(torch.Size([batch, *layer.weight.flatten(1).shape]), fold(key, 0)).double()


def close(actual, expected) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


def loss_of(z: torch.Tensor, layer) -> torch.Tensor:
    """Mean over samples of the cross-entropy at every position."""
    dim = unit_dim(layer, z)
    z = z.movedim(dim, 1)
    classes = z.shape[1]
    y = torch.arange(z[:, 0].numel()).view_as(z[:, 0]) % classes
    return cross_entropy(z, y, reduction="sum") / len(z)


# The free function.


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("name", CASES, ids=lambda name: name.replace(" ", "_"))
def test_the_masked_gradient_is_the_twins(name: str, rule: Rule):
    layer, x = CASES[name].layer(), CASES[name].input(BATCH)
    z = layer(x).detach().requires_grad_()
    loss_of(z, layer).backward()
    key = fold(1, 2, 3)
    uniforms = draws(key, layer, BATCH)
    masked, sums = masked_gradient(rule, key, layer, x, z.detach(), z.grad)
    expected, pi = twin(rule, layer, x, z.detach(), z.grad, uniforms)
    close(masked.flatten(1), expected)
    close(sums[1], pi.sum(0))
    close(sums[3], (uniforms < pi).double().sum(0))


def test_the_twins_masks_are_not_trivial():
    """Over all cases, some coordinates are selected and some are not."""
    layer, x = CASES["linear"].layer(), CASES["linear"].input(50)
    z = layer(x).detach()
    for rule in RULES.values():
        _, pi = twin(rule, layer, x, z, z.sin(), draws(0, layer, 50))
        share = (draws(0, layer, 50) < pi).double().mean()
        assert 0.01 < share < 0.9


def test_bernoulli_is_a_uniform_number_below_the_probability():
    pi = torch.linspace(0, 1, 1000)
    assert torch.equal(bernoulli(pi, 8), uniform(pi.shape, 8) < pi)


# The optimizer.


def optimizer_of(layer: nn.Module, rule: Rule, **options) -> InterpretableSGD:
    return InterpretableSGD(
        layer.parameters(),
        lr=0.5,
        block_size=rule.block_size,
        sparsity=rule.sparsity,
        layers="all",
        lipschitz=rule.lipschitz,
        mask="per-sample",
        draw=rule.draw,
        correction="unbiased" if rule.unbiased else "none",
        probabilities=rule.probabilities,
        floor=rule.floor,
        model=layer,
        **options,
    )


@pytest.fixture
def used(monkeypatch) -> list[torch.Tensor]:
    """Uniform numbers behind every draw of the library, in order."""
    kept = []

    def spy(pi, key):
        kept.append(uniform(pi.shape, key).double())
        return bernoulli(pi, key)

    monkeypatch.setattr(masks, "bernoulli", spy)
    return kept


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize(
    "name",
    [
        "linear",
        "linear, positions",
        "conv1d, stride, padding, dilation",
        "conv1d, same",
        "conv2d, all geometry",
        "conv2d, same reflect",
        "conv3d, all geometry",
    ],
    ids=lambda name: name.replace(" ", "_"),
)
def test_the_optimizer_is_the_twin_step_by_step(name: str, rule: Rule, used):
    """W <- W - eta (1 / B) sum_i q_i * g_i for 3 steps, `.grad` holding the masked gradient."""
    layer = CASES[name].layer()
    optimizer = optimizer_of(layer, rule)
    for step in range(3):
        x, before = CASES[name].input(BATCH, seed=step), layer.weight.detach().clone()
        optimizer.zero_grad()
        z = layer(x)
        z.retain_grad()
        loss_of(z, layer).backward()
        twin_layer = CASES[name].layer()
        twin_layer.weight.data = before
        expected, _ = twin(rule, twin_layer, x, z.detach(), z.grad, used[step])
        close(layer.weight.grad.flatten(1), expected)
        optimizer.step()
        close(layer.weight.detach(), before - 0.5 * expected.view_as(before))
    assert len(used) == 3 and not torch.equal(used[0], used[1])


@pytest.mark.parametrize("mask", ["shared", "shared-current", "per-sample"])
@pytest.mark.parametrize("name", ["linear", "linear, positions", "conv2d, all geometry"])
def test_9_limit_a_block_as_large_as_the_row_is_torch_sgd(name: str, mask: str):
    """Bit for bit with shared masks; per sample, the gradient is summed in another order."""
    options = {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}
    ours, theirs = CASES[name].layer(), CASES[name].layer()
    routed = {"block_size": 100, "layers": "all", "mask": mask, "model": ours}
    pairs = [
        (ours, InterpretableSGD(ours.parameters(), **options, **routed)),
        (theirs, torch.optim.SGD(theirs.parameters(), **options)),
    ]
    for step, (layer, optimizer) in itertools.product(range(5), pairs):
        optimizer.zero_grad()
        loss_of(layer(CASES[name].input(BATCH, seed=step)), layer).backward()
        optimizer.step()
    rounding = 1e-10 if mask == "per-sample" else 0
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=rounding, atol=rounding)
    if ours.bias is not None:
        assert torch.equal(ours.bias, theirs.bias)


@pytest.mark.parametrize("probabilities", ["paper", "waterfill"])
def test_10_the_selection_does_not_depend_on_the_losss_reduction(probabilities: str):
    """'mean' divides delta by B; masks, and so the update at lr / B, must not change."""
    rule = replace(WATERFILL if probabilities == "waterfill" else PAPER, lipschitz="weight")
    weights = []
    for scale in (1, BATCH):
        layer = CASES["linear"].layer()
        optimizer = optimizer_of(layer, rule)
        optimizer.param_groups[0]["lr"] = 0.5 / scale
        (loss_of(layer(CASES["linear"].input(BATCH)), layer) * scale).backward()
        optimizer.step()
        weights.append(layer.weight.detach())
    close(*weights)


@pytest.mark.parametrize("name", ["linear", "conv2d"])
def test_an_empty_poisson_batch_moves_nothing(name: str):
    """u = 0: Algorithm 3 counts the step."""
    layer = CASES[name].layer()
    optimizer = optimizer_of(layer, WATERFILL)
    before = layer.weight.detach().clone()
    (layer(CASES[name].input(0)).sum() / BATCH).backward()
    optimizer.step()
    assert torch.equal(layer.weight, before)


# Messages.


def test_per_sample_masks_warn_once_and_name_ce3():
    layer = CASES["linear"].layer()
    with pytest.warns(UserWarning, match=r"masks per sample do not descend the loss.*CE3") as seen:
        optimizer = InterpretableSGD(layer.parameters(), lr=0.1, mask="per-sample", model=layer)
        for _ in range(3):
            optimizer.zero_grad()
            loss_of(layer(CASES["linear"].input(BATCH)), layer).backward()
            optimizer.step()
    assert len(seen) == 1


def test_unit_draws_refuse_convolutions_and_positions():
    unit = {"mask": "per-sample", "draw": "unit", "lipschitz": "weight", "layers": "all"}
    layer = CASES["conv2d"].layer()
    with pytest.raises(ValueError, match=r"draw='unit' needs Linear layers, got Conv2d"):
        optimizer = InterpretableSGD(layer.parameters(), lr=0.1, model=layer, **unit)
        loss_of(layer(CASES["conv2d"].input(2)), layer).backward()
        optimizer.step()
    layer = CASES["linear, positions"].layer()
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1, block_size=1, model=layer, **unit)
    loss = loss_of(layer(CASES["linear, positions"].input(2)), layer)
    with pytest.raises(ValueError, match=r"draw='unit' needs Linear layers on \(batch, features\)"):
        loss.backward()
    optimizer.detach()


def test_unit_draws_of_the_papers_probabilities_refuse_a_floor():
    """A product of two factors has no additive floor; it must not be dropped in silence."""
    layer = CASES["linear"].layer()
    with pytest.raises(ValueError, match="floor must be 0"):
        InterpretableSGD(
            layer.parameters(),
            lr=0.1,
            mask="per-sample",
            draw="unit",
            lipschitz="weight",
            probabilities="paper",
            floor=0.1,
        )

"""Algorithm 3 as printed against its literal twin, coordinate by coordinate, at the same draws.

The draws are the library's own: uniform numbers of the key that the library hands its sampler.
z-tests: exact standard errors, Bonferroni over at most 24 coordinates at alpha = 1e-3: |z| < 4.1.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer import algorithm3
from interpretable_sgd.optimizer.algorithm3 import Sums, bias_ratio, masked_gradient, unit_dim
from interpretable_sgd.optimizer.sampling import bernoulli, hash_key, uniform
from tests import literal
from tests.geometries import CASES, by_position, connections
from tests.models import MLP, same, train, weights

BATCH, COPIES, Z = 3, 20_000, 4.1
SPARSITIES = (-2.0, 0.0, 0.5)
heads = pytest.mark.parametrize("is_head", [True, False], ids=["head", "hidden"])
sparsities = pytest.mark.parametrize("sparsity", SPARSITIES)

pytestmark = pytest.mark.filterwarnings(
    "ignore:Algorithm 3 as printed", "ignore:Using padding='same' with even kernel"
)


def data(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def problem(samples: int = 3, units: int = 6, classes: int = 4):
    """Layer, inputs, outputs and output gradients of a softmax head."""
    torch.manual_seed(0)
    layer = nn.Linear(units, classes).double()
    x, y = data(samples, units, seed=1), torch.arange(samples) % classes
    z = layer(x).detach()
    return layer, x, z, z.softmax(-1) - torch.eye(classes)[y]


def twin(sparsity: float, is_head: bool, layer, x, z, delta, uniforms) -> tuple[Tensor, Tensor]:
    """The oracle's masked gradient and pi_icm."""
    dim = unit_dim(layer, z)
    p = z.sigmoid() if z.shape[dim] == 1 else z.softmax(dim)
    h = p * (1 - p) if is_head else delta**2
    total, pi = literal.masked_gradient(
        layer.weight.detach().flatten(1).tolist(),
        [connections(layer, x_i) for x_i in x],
        [by_position(layer, h_i) for h_i in h],
        [by_position(layer, d_i) for d_i in delta],
        uniforms.tolist(),
        sparsity=sparsity,
    )
    return tuple(torch.tensor(values, dtype=torch.float64) for values in (total, pi))


def draws(key: int, layer, batch: int) -> Tensor:
    shape = torch.Size([batch, *layer.weight.flatten(1).shape])
    return uniform(shape, hash_key(key, 0)).double()


def close(actual, expected, rtol: float = 1e-10, atol: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


def loss_of(z: Tensor, layer) -> Tensor:
    """Mean over samples of the cross-entropy at every position."""
    z = z.movedim(unit_dim(layer, z), 1)
    classes = z.shape[1]
    y = torch.arange(z[:, 0].numel()).view_as(z[:, 0]) % classes
    return cross_entropy(z, y, reduction="sum") / len(z)


# The free function.


@sparsities
@heads
@pytest.mark.parametrize("name", CASES, ids=lambda name: name.replace(" ", "_"))
def test_the_masked_gradient_is_the_twins(name: str, is_head: bool, sparsity: float) -> None:
    layer, x = CASES[name].layer(), CASES[name].input(BATCH)
    z = layer(x).detach().requires_grad_()
    (loss_of(z, layer) + z.square().mean()).backward()
    key = hash_key(1, 2, 3)
    uniforms = draws(key, layer, BATCH)
    masked, sums = masked_gradient(sparsity, key, is_head, layer, x, z.detach(), z.grad)
    expected, pi = twin(sparsity, is_head, layer, x, z.detach(), z.grad, uniforms)
    close(masked.flatten(1), expected)
    close(sums.probability, pi.sum(0))
    close(sums.selected, (uniforms < pi).double().sum(0))
    assert (sums.samples == BATCH).all()


def test_the_twins_masks_are_not_trivial() -> None:
    """Over many samples, some coordinates are selected and some are not."""
    layer, x = CASES["linear"].layer(), CASES["linear"].input(50)
    z = layer(x).detach()
    for sparsity in SPARSITIES:
        _, pi = twin(sparsity, True, layer, x, z, z.sin(), draws(0, layer, 50))
        assert 0.01 < (draws(0, layer, 50) < pi).double().mean() < 0.9


def test_bernoulli_is_a_uniform_number_below_the_probability() -> None:
    pi = torch.linspace(0, 1, 1000)
    assert torch.equal(bernoulli(pi, 8), uniform(pi.shape, 8) < pi)


@heads
def test_an_empty_poisson_batch_has_u_0(is_head: bool) -> None:
    layer, x, z, delta = problem()
    masked, sums = masked_gradient(0.0, 0, is_head, layer, x[:0], z[:0], delta[:0])
    assert torch.equal(masked, torch.zeros(4, 6).double())
    assert not torch.stack(sums).any()


@heads
def test_an_empty_batch_of_a_convolution_has_u_0(is_head: bool) -> None:
    layer, x = CASES["conv2d, all geometry"].layer(), CASES["conv2d, all geometry"].input(0)
    z = layer(x).detach()
    masked, sums = masked_gradient(0.0, 0, is_head, layer, x, z, z)
    assert not masked.any() and not torch.stack(sums).any()


@heads
@pytest.mark.parametrize("name", ["linear", "conv1d", "conv2d, all geometry", "conv3d"])
def test_an_input_without_a_batch_dimension_is_one_sample(name: str, is_head: bool) -> None:
    layer, x = CASES[name].layer(), CASES[name].input(1)
    z = layer(x).detach()
    delta = data(*z.shape)
    batched = masked_gradient(0.0, 3, is_head, layer, x, z, delta)
    alone = masked_gradient(0.0, 3, is_head, layer, x[0], z[0], delta[0])
    close(alone[0], batched[0])
    close(torch.stack(alone[1]), torch.stack(batched[1]))


@heads
def test_a_confident_sample_in_float32_has_masks_of_its_own(is_head: bool) -> None:
    """A loss of e^-60 leaves delta^2 and p (1 - p) below float32, but not their ratios."""
    layer, x, _, _ = problem(samples=1)
    layer, x = layer.float(), x.float()
    z = torch.tensor([[60.0, 0.0, -1.0, -2.0]])
    delta = z.softmax(-1) - torch.eye(4)[:1]
    delta[0, 0] = -delta[0, 1:].sum()
    sums = masked_gradient(0.0, 0, is_head, layer, x, z, delta * 1e26)[1]
    again = masked_gradient(0.0, 0, is_head, layer, x, z, delta)[1]
    assert float(sums.probability.sum()) == pytest.approx(1, rel=1e-4)
    close(again.probability, sums.probability, rtol=1e-3, atol=1e-6)


@heads
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_is_never_masked_away(bad: float, is_head: bool) -> None:
    """Gradient scaling and NaN checks read `.grad`: one bad sample of three must show there."""
    layer, x, z, delta = problem()
    delta[0, 1] = bad
    for key in range(20):
        masked, _ = masked_gradient(0.0, key, is_head, layer, x, z, delta)
        assert not masked[1].isfinite().any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_are_at_least_float32(dtype: torch.dtype) -> None:
    layer, x, z, delta = problem()
    _, sums = masked_gradient(0.0, 0, True, layer.to(dtype), *(t.to(dtype) for t in (x, z, delta)))
    assert all(part.dtype == torch.float32 for part in sums)
    close(sums.gradient.double(), delta.T @ x, rtol=3e-2, atol=3e-2)


def exact(sparsity: float, layer, x, z, delta) -> tuple[Tensor, Tensor]:
    """pi_icm and g_icm, read from one-sample calls."""
    alone = [[t[i, None] for t in (x, z, delta)] for i in range(len(x))]
    sums = [masked_gradient(sparsity, 0, True, layer, *sample)[1] for sample in alone]
    return torch.stack([s.probability for s in sums]), torch.stack([s.gradient for s in sums])


def tiled(sparsity: float):
    """One call on many copies of every sample: mean masked gradient, sums, pi_icm and g_icm."""
    layer, x, z, delta = problem()
    pi, g = exact(sparsity, layer, x, z, delta)
    copies = [t.repeat(COPIES, 1) for t in (x, z, delta)]
    masked, sums = masked_gradient(sparsity, hash_key(7), True, layer, *copies)
    return masked / COPIES, Sums(*torch.stack(sums) / COPIES), pi, g


@sparsities
def test_5_marginals_of_per_sample_masks(sparsity: float) -> None:
    """n = 2e4 copies of 3 samples, 24 coordinates."""
    _, sums, pi, _ = tiled(sparsity)
    error = (pi * (1 - pi)).sum(0).div(COPIES).sqrt()
    assert ((sums.selected - pi.sum(0)) / error).abs().max() < Z
    close(sums.probability, pi.sum(0), rtol=1e-9, atol=1e-9)


def test_7_masks_have_mean_sum_pi_i_g_i_and_not_pi_times_the_gradient() -> None:
    """E = sum_i Pi_i g_i, n = 2e4; Pibar grad F is off by more than 10 standard errors."""
    masked, sums, pi, g = tiled(-2.0)
    error = (g.square() * pi * (1 - pi)).sum(0).div(COPIES).sqrt()
    assert ((masked - (pi * g).sum(0)) / error).abs().max() < Z
    assert ((masked - pi.mean(0) * g.sum(0)) / error).abs().max() > 10
    close(sums.expected, (pi * g).sum(0), rtol=1e-9, atol=1e-9)


def test_7_masks_differ_between_samples_steps_and_chunks() -> None:
    layer, x, z, delta = problem(samples=1)
    x, z, delta = (t.expand(64, -1) for t in (x, z, delta))
    first, second = (
        masked_gradient(-2.0, key, True, layer, x, z, delta)[1].selected for key in (1, 2)
    )
    assert not torch.equal(first, second)
    assert ((first > 0) & (first < 64)).any()


@pytest.mark.parametrize("chunk", [1, 24, 50, 1 << 22])
def test_chunks_of_samples_change_draws_and_nothing_else(monkeypatch, chunk: int) -> None:
    """24 coordinates a sample: one sample, one, two, or all 5 at a time."""
    monkeypatch.setattr(algorithm3, "CHUNK", chunk)
    monkeypatch.setattr(algorithm3, "bernoulli", lambda pi, key: pi > 0.1)
    layer, x, z, delta = problem(samples=5)
    masked, sums = masked_gradient(-2.0, 0, True, layer, x, z, delta)
    pi, g = exact(-2.0, layer, x, z, delta)
    close(masked, torch.where(pi > 0.1, g, 0).sum(0))
    parts = torch.stack([pi * g, pi, g, (pi > 0.1).double(), torch.ones_like(g)])
    close(torch.stack(sums), parts.sum(1))


def test_chunks_draw_from_streams_of_their_own(monkeypatch) -> None:
    monkeypatch.setattr(algorithm3, "CHUNK", 24)
    keys = []
    monkeypatch.setattr(algorithm3, "bernoulli", lambda pi, key: keys.append(key) or pi > 2)
    masked_gradient(0.0, 9, True, *problem(samples=5))
    assert len(set(keys)) == 5


@pytest.mark.parametrize("name", CASES, ids=lambda name: name.replace(" ", "_"))
def test_unit_dim_of_every_layer(name: str) -> None:
    layer, x = CASES[name].layer(), CASES[name].input(3)
    z = layer(x)
    assert z.shape[unit_dim(layer, z)] == len(layer.weight)


# The bias diagnostic.


def test_theta_is_0_without_bias() -> None:
    """One sample: C = Cov_i(pi_i, g_i) = 0."""
    layer, x, z, delta = problem()
    one = masked_gradient(0.0, 0, True, layer, x[:1], z[:1], delta[:1])[1]
    assert bias_ratio(one).max() < 1e-24


def test_theta_by_its_formula() -> None:
    """theta_j = C_j^2 / (pibar_j d_j F)^2, C_j = mean_i pi_ij g_ij - pibar_j d_j F."""
    layer, x, z, delta = problem()
    pi, g = exact(0.0, layer, x, z, delta)
    C = (pi * g).mean(0) - pi.mean(0) * g.mean(0)
    sums = masked_gradient(0.0, 0, True, layer, x, z, delta / 3)[1]
    expected = (C / (pi.mean(0) * g.mean(0))).square()
    close(bias_ratio(sums), expected, rtol=1e-9, atol=0)


def test_theta_of_coordinates_that_never_move_is_0_and_of_pure_bias_inf() -> None:
    assert not bias_ratio(Sums(*torch.zeros(5, 2, 3))).any()
    pure = Sums(*torch.tensor([0.1, 0.5, 0.0, 1.0, 2.0])[:, None])
    assert bias_ratio(pure).tolist() == [float("inf")]


# The optimizer.


def optimizer_of(layer: nn.Module, **options) -> InterpretableSGD:
    options = {"lr": 0.5, "method": "algorithm3"} | options
    optimizer = InterpretableSGD(layer.parameters(), **options)
    optimizer.attach(layer)
    return optimizer


@pytest.fixture
def used(monkeypatch) -> list[Tensor]:
    """Uniform numbers behind every draw of the library, in order."""
    kept = []

    def spy(pi, key):
        kept.append(uniform(pi.shape, key).double())
        return bernoulli(pi, key)

    monkeypatch.setattr(algorithm3, "bernoulli", spy)
    return kept


@sparsities
@pytest.mark.parametrize("momentum", [0.0, 0.9])
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
def test_the_optimizer_is_the_twin_step_by_step(
    name: str, momentum: float, sparsity: float, used: list[Tensor]
) -> None:
    """W <- W - eta m, m <- b m + (1 / B) sum_i q_i * g_i, `.grad` holding the masked gradient."""
    layer = CASES[name].layer()
    optimizer = optimizer_of(layer, sparsity=sparsity, momentum=momentum)
    buffer = torch.zeros_like(layer.weight)
    for step in range(4):
        x, before = CASES[name].input(BATCH, seed=step), layer.weight.detach().clone()
        optimizer.zero_grad()
        z = layer(x)
        z.retain_grad()
        loss_of(z, layer).backward()
        twin_layer = CASES[name].layer()
        twin_layer.weight.data = before
        expected, _ = twin(sparsity, True, twin_layer, x, z.detach(), z.grad, used[step])
        close(layer.weight.grad.flatten(1), expected)
        optimizer.step()
        buffer = momentum * buffer + expected.view_as(before)
        close(layer.weight.detach(), before - 0.5 * buffer)
    assert len(used) == 4 and not torch.equal(used[0], used[1])


def test_10_the_selection_does_not_depend_on_the_losss_reduction() -> None:
    """'mean' divides delta by B; masks, and so the update at lr / B, must not change."""
    results = []
    for scale in (1, BATCH):
        layer = CASES["linear"].layer()
        optimizer = optimizer_of(layer, lr=0.5 / scale)
        for seed in range(3):
            optimizer.zero_grad()
            (loss_of(layer(CASES["linear"].input(BATCH, seed)), layer) * scale).backward()
            optimizer.step()
        results.append(layer.weight.detach())
    close(*results)


def test_per_sample_gradients_are_masked_where_they_are_seen() -> None:
    """`.grad` holds the masked gradient of the routed weight; all others are autograd's."""
    model, plain, (first, (x, y), *_) = MLP.model(), MLP.model(), MLP.batches()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, method="algorithm3")
    train(model, optimizer, [first])
    plain.load_state_dict(model.state_dict())
    optimizer.zero_grad()
    for net in (model, plain):
        cross_entropy(net(x), y).backward()
    ours, theirs = ([p.grad for p in net.parameters()] for net in (model, plain))
    assert same([ours[0], ours[1], ours[3]], [theirs[0], theirs[1], theirs[3]])
    assert (ours[2] != theirs[2]).any() and (ours[2] != 0).any()


def test_masks_do_not_depend_on_param_groups() -> None:
    def trained(*groups: list[int]) -> list[Tensor]:
        model = MLP.model()
        named = list(model.parameters())
        chosen = [{"params": [named[i] for i in group]} for group in groups]
        train(model, InterpretableSGD(chosen, lr=0.1, method="algorithm3"), MLP.batches())
        return weights(model)

    assert same(trained([0, 1, 2, 3]), trained([0, 1], [2, 3]))


def test_masks_are_a_function_of_the_seed() -> None:
    def trained(seed: int) -> list[Tensor]:
        model = MLP.model()
        options = {"method": "algorithm3", "sparsity": -1.0, "seed": seed}
        train(model, InterpretableSGD(model.parameters(), lr=0.1, **options), MLP.batches())
        return weights(model)

    assert same(trained(3), trained(3)) and not same(trained(3), trained(4))


class Twice(nn.Module):
    """One layer called on both halves of the features, or two with one weight."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.shared, self.head = nn.Linear(3, 20), nn.Linear(20, 4)
        self.other = self.shared
        if tied:
            self.other = nn.Linear(3, 20)
            self.other.weight, self.other.bias = self.shared.weight, self.shared.bias

    def forward(self, input: Tensor) -> Tensor:
        return self.head(self.shared(input[:, :3]).relu() + self.other(input[:, 3:]).relu())


@pytest.mark.parametrize("tied", [False, True])
def test_every_call_of_one_weight_has_a_mask_of_its_own(tied: bool) -> None:
    """Two calls on one sample have one gradient; the sum of both masks is 0, 1 or 2 of it."""
    x = torch.randn(1, 3)
    pair, counts = torch.cat([x, x], 1), set()
    plain = Twice(tied)
    plain(pair).square().sum().backward()
    for seed in range(40):
        model = Twice(tied)
        model.load_state_dict(plain.state_dict())
        # Rates of 0, so that the second step is of the same weights.
        options = {"layers": "shared", "method": "algorithm3", "sparsity": -3.0, "seed": seed}
        optimizer = InterpretableSGD(model.parameters(), lr=0.0, **options)
        for _ in range(2):
            optimizer.zero_grad()
            model(pair).square().sum().backward()
            optimizer.step()
        share = 2 * model.shared.weight.grad / plain.shared.weight.grad
        counts |= set(share[share.isfinite()].round().int().tolist())
        optimizer.detach()
    assert counts == {0, 1, 2}


def test_steps_that_maximize_go_up() -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, method="algorithm3", maximize=True)
    train(model, optimizer, MLP.batches(2))
    optimizer.zero_grad()
    x, y = MLP.batches()[2]
    cross_entropy(model(x), y).backward()
    before, gradient = model[2].weight.detach().clone(), model[2].weight.grad.clone()
    optimizer.step()
    assert gradient.any()
    close(model[2].weight.detach(), before + 0.1 * gradient, rtol=1e-6, atol=1e-7)


def test_bias_ratio_is_of_algorithm_3s_layers() -> None:
    model = MLP.model()
    groups = [
        {"params": model[0].parameters(), "layers": "all"},
        {"params": model[2].parameters(), "layers": "all", "method": "algorithm3"},
    ]
    optimizer = InterpretableSGD(groups, lr=0.1)
    train(model, optimizer, MLP.batches())
    assert list(optimizer.routed_units()) == ["0", "2"]
    ((name, theta),) = optimizer.bias_ratio().items()
    assert name == "2" and theta.shape == model[2].weight.shape
    assert not theta.isnan().any() and theta.min() >= 0 and (theta > 0).any()


@pytest.mark.parametrize("scale", [65536.0, -1.0, -65536.0])
def test_bias_ratio_does_not_depend_on_the_scale_of_the_loss(scale: float) -> None:
    """theta is free of scale, so that a GradScaler and the sign of the gradients cancel."""

    def read(scale: float) -> tuple[Tensor, Tensor]:
        model = MLP.model()
        optimizer = InterpretableSGD(model.parameters(), lr=0.0, method="algorithm3")
        for input, target in MLP.batches(3):
            optimizer.zero_grad()
            (scale * cross_entropy(model(input), target)).backward()
            optimizer.step()
        return optimizer.bias_ratio()["2"], optimizer.routed_units()["2"].strength

    (theta, strength), (scaled_theta, scaled) = read(1.0), read(scale)
    assert theta.max() > 0.1
    close(scaled, strength, rtol=1e-4, atol=1e-6)
    close(scaled_theta, theta, rtol=1e-2, atol=1e-4)


def test_it_warns_once_and_names_ce3(recwarn: pytest.WarningsRecorder) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, method="algorithm3", layers="all")
    train(model, optimizer, MLP.batches(3))
    (warning,) = recwarn
    assert "Algorithm 3 as printed does not descend the loss" in str(warning.message)
    assert "counterexample CE3" in str(warning.message)


def test_rows_are_routed_however_narrow_the_layer_is() -> None:
    """Algorithm 3's probabilities know no K."""
    layer = nn.Linear(4, 4)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1, method="algorithm3", block_size=5)
    train(layer, optimizer, [(torch.rand(9, 4), torch.arange(9) % 4)] * 2)
    assert float(optimizer.state[layer.weight]["moments"][1].sum()) > 0

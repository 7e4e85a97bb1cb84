"""The step: what is torch.optim.SGD's, and what a mask makes of it."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer import update
from tests.models import CASES, CLASSES, MLP, Batch, Case, same, train, weights

HYPERPARAMETERS = {
    "plain": {},
    "decay": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.9, "weight_decay": 0.01},
    "nesterov": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "nesterov alone": {"momentum": 0.9, "nesterov": True},
    "dampening": {"momentum": 0.9, "dampening": 0.5},
    "maximize": {"maximize": True, "momentum": 0.9, "weight_decay": 0.01},
    "tensor lr": {"lr": torch.tensor(0.05), "momentum": 0.9},
}
KERNELS = {
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "default": {},
    "fused": {"fused": True},
}
MASKS = {
    "shared": {"horizon": 0},
    "shared, annealed": {"horizon": 3},
    "shared-current": {"mask": "shared-current", "horizon": 0},
    "systematic": {"draw": "systematic", "horizon": 0},
    "unbiased": {"correction": "unbiased"},
    "paper": {"probabilities": "paper"},
    "per-sample": {"mask": "per-sample"},
    "per-sample, paper": {"mask": "per-sample", "probabilities": "paper"},
    "per-sample, unbiased": {"mask": "per-sample", "correction": "unbiased"},
    "per-sample, unit": {"mask": "per-sample", "draw": "unit", "lipschitz": "weight"},
}
quiet = pytest.mark.filterwarnings("ignore:masks per sample")


def narrow(model: nn.Module, **options) -> InterpretableSGD:
    """The block has its final size from the first step."""
    chosen = {"lr": 0.1, "block_size": 3, "horizon": 0, "model": model} | options
    return InterpretableSGD(model.parameters(), **chosen)


def buffers(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    found = [optimizer.state[p].get("momentum_buffer") for p in parameters]
    return [buffer for buffer in found if buffer is not None]


def test_is_a_torch_sgd(model: nn.Module) -> None:
    assert isinstance(InterpretableSGD(model.parameters()), torch.optim.SGD)


@pytest.mark.parametrize("options", [{"layers": "none"}, {"block_size": 1000, "layers": "all"}])
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=list(KERNELS))
@pytest.mark.parametrize("hyperparameters", HYPERPARAMETERS.values(), ids=list(HYPERPARAMETERS))
def test_whole_rows_and_unrouted_models_are_sgd_bit_for_bit(
    case: Case, hyperparameters: dict, kernel: dict, options: dict
) -> None:
    ours, theirs = case.model(), case.model()
    arguments = {"lr": 0.1} | hyperparameters | kernel
    routed = InterpretableSGD(ours.parameters(), **arguments, **options)
    dense = torch.optim.SGD(theirs.parameters(), **arguments)
    train(ours, routed, case.batches())
    train(theirs, dense, case.batches())
    assert same(ours.parameters(), theirs.parameters())
    assert len(buffers(routed)) == len(buffers(dense))
    assert not buffers(dense) or same(buffers(routed), buffers(dense))


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=list(KERNELS))
@pytest.mark.parametrize("hyperparameters", HYPERPARAMETERS.values(), ids=list(HYPERPARAMETERS))
def test_unrouted_parameters_of_a_masked_model_are_sgd_bit_for_bit(
    hyperparameters: dict, kernel: dict
) -> None:
    model = MLP.model()
    arguments = {"lr": 0.1} | hyperparameters | kernel
    optimizer = narrow(model, **arguments)
    twins = [parameter.detach().clone().requires_grad_() for parameter in model.parameters()]
    dense = torch.optim.SGD(twins, **arguments)
    for input, target in MLP.batches(5):
        optimizer.zero_grad()
        cross_entropy(model(input), target).backward()
        for twin, parameter in zip(twins, model.parameters(), strict=True):
            twin.grad = parameter.grad.clone()
        dense.step()
        optimizer.step()
    names = [name for name, _ in model.named_parameters()]
    equal = [torch.equal(p, twin) for p, twin in zip(model.parameters(), twins, strict=True)]
    assert dict(zip(names, equal, strict=True)) == {
        "0.weight": True,
        "0.bias": True,
        "2.weight": False,
        "2.bias": True,
    }


@pytest.mark.parametrize("horizon", [1, 4])
def test_the_block_narrows_geometrically(horizon: int) -> None:
    """K_t = M^(1 - p) K^p, p = min(1, t / H): a systematic mask has K_t rounded either way."""
    model = MLP.model()
    optimizer = narrow(model, horizon=horizon, draw="systematic", shrink=0, floor=0.0)
    for step, batch in enumerate(MLP.batches(6), start=1):
        *_, q, _ = _masked_step(optimizer, model, batch)
        block_size = 20 * (3 / 20) ** min(1.0, step / horizon)
        # A row has no more coordinates to select than it has constants above 0.
        assert q.sum(1).max() <= math.ceil(block_size - 1e-6)
        assert step > 1 or q.sum(1).min() >= math.floor(block_size + 1e-6)
        assert q.sum() > 0


def test_routed_units_tell_of_the_next_step() -> None:
    model = MLP.model()
    optimizer = narrow(model, horizon=4, draw="systematic", lipschitz="activation", floor=0.5)
    x = torch.rand(9, 6)
    model[0].bias.data.fill_(2.0)
    batch = (x, torch.arange(9) % CLASSES)
    train(model, optimizer, [batch])
    for _ in range(4):
        units = _only(optimizer)
        assert units.probabilities.sum(1).tolist() == pytest.approx([units.block_size] * CLASSES)
        *_, q, _ = _masked_step(optimizer, model, batch)
        sizes = q.sum(1)
        assert math.floor(units.block_size) <= sizes.min()
        assert sizes.max() <= math.ceil(units.block_size)


@quiet
@pytest.mark.parametrize("mask", MASKS.values(), ids=list(MASKS))
@pytest.mark.parametrize("hyperparameters", HYPERPARAMETERS.values(), ids=list(HYPERPARAMETERS))
@pytest.mark.parametrize("kernel", ["for-loop", "foreach", "fused"])
def test_step_leaves_gradients_alone(hyperparameters: dict, mask: dict, kernel: str) -> None:
    model = MLP.model()
    arguments = {"lr": 0.1} | hyperparameters | mask | KERNELS[kernel]
    optimizer = InterpretableSGD(model.parameters(), **arguments)
    for input, target in MLP.batches(3):
        optimizer.zero_grad()
        cross_entropy(model(input), target).backward()
        kept = [parameter.grad for parameter in model.parameters()]
        before = [gradient.clone() for gradient in kept]
        optimizer.step()
        assert all(p.grad is g for p, g in zip(model.parameters(), kept, strict=True))
        assert same(kept, before)


def _only(optimizer: InterpretableSGD):
    (units,) = optimizer.routed_units().values()
    return units


def _masked_step(optimizer: InterpretableSGD, model: nn.Module, batch: Batch):
    """Weight before, gradient, mask of this step, and the head's weight after it."""
    head = model[2].weight
    chosen = optimizer.state[head].get("selected", torch.zeros_like(head)).clone()
    optimizer.zero_grad()
    cross_entropy(model(batch[0]), batch[1]).backward()
    before, gradient = head.detach().clone(), head.grad.clone()
    optimizer.step()
    return before, gradient, optimizer.state[head]["selected"] - chosen, head.detach()


@pytest.mark.parametrize("draw", ["independent", "systematic"])
def test_update_is_the_mask_times_the_decayed_gradient(draw: str) -> None:
    model, decay = MLP.model(), 0.3
    optimizer = narrow(model, weight_decay=decay, shrink=0, draw=draw)
    for batch in MLP.batches(5):
        before, gradient, q, after = _masked_step(optimizer, model, batch)
        assert set(q.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(after[q == 0], before[q == 0])
        expected = before.add(gradient.add(before, alpha=decay), alpha=-0.1)
        assert torch.equal(after[q == 1], expected[q == 1])
        assert draw == "independent" or q.sum(1).tolist() == [3.0] * CLASSES


def test_maximize_ascends_inside_the_mask() -> None:
    model = MLP.model()
    optimizer = narrow(model, weight_decay=0.3, shrink=0, maximize=True)
    before, gradient, q, after = _masked_step(optimizer, model, MLP.batches()[0])
    expected = before.add((-gradient).add(before, alpha=0.3), alpha=-0.1)
    assert torch.equal(after, torch.where(q == 1, expected, before))


def test_unbiased_update_divides_by_the_probability() -> None:
    model, (first, second, *_) = MLP.model(), MLP.batches()
    optimizer = narrow(model, correction="unbiased", floor=0.2)
    _masked_step(optimizer, model, first)
    pi = _only(optimizer).probabilities
    assert pi.sum(1).tolist() == pytest.approx([3.0] * CLASSES, rel=1e-5)
    assert pi.std() > 0.01, "the second step is no test where probabilities are uniform"
    before, gradient, q, after = _masked_step(optimizer, model, second)
    torch.testing.assert_close(after, before - 0.1 * q * gradient / pi)


def test_momentum_accumulates_masked_gradients() -> None:
    model, (first, second, *_) = MLP.model(), MLP.batches()
    optimizer = narrow(model, momentum=0.9, shrink=0)
    buffer = torch.zeros(CLASSES, 20)
    for batch in (first, second):
        before, gradient, q, after = _masked_step(optimizer, model, batch)
        buffer = 0.9 * buffer + q * gradient
        torch.testing.assert_close(optimizer.state[model[2].weight]["momentum_buffer"], buffer)
        torch.testing.assert_close(after, before - 0.1 * buffer)


def _shrunk(weight: Tensor, amount: Tensor) -> Tensor:
    return weight.sign() * (weight.abs() - amount).clamp(min=0)


def test_unrouted_connections_shrink_as_stated() -> None:
    """|W| <- (|W| - a (1 - pi))_+, a = shrink lr / (max lr 250 sqrt(M)); floor = 0."""
    model, shrink = MLP.model(), 40.0
    optimizer = narrow(model, shrink=shrink, floor=0.0)
    train(model, optimizer, MLP.batches(1))
    rates, peaks = [0.1, 0.2, 0.05, 0.1], [0.1, 0.2, 0.2, 0.2]
    for rate, peak, batch in zip(rates, peaks, MLP.batches(), strict=True):
        optimizer.param_groups[0]["lr"] = rate
        amount = shrink * rate / (peak * 250 * math.sqrt(20))
        pi = _only(optimizer).probabilities
        before, gradient, q, after = _masked_step(optimizer, model, batch)
        expected = _shrunk(before - rate * q * gradient, amount * (1 - pi))
        torch.testing.assert_close(after, expected)
        assert (expected == 0).any() and (expected != 0).any()


def test_shrinking_rises_as_the_block_narrows() -> None:
    """In the first of H steps a = shrink (1 / H) / (250 sqrt(M)), and pi = K_1 / M everywhere."""
    model, horizon, shrink = MLP.model(), 4, 700.0
    optimizer = narrow(model, shrink=shrink, horizon=horizon)
    before, gradient, q, after = _masked_step(optimizer, model, MLP.batches()[0])
    pi = (3 / 20) ** (1 / horizon)
    amount = shrink / horizon / (250 * math.sqrt(20)) * (1 - pi)
    torch.testing.assert_close(after, _shrunk(before - 0.1 * q * gradient, torch.tensor(amount)))
    assert 0 < q.mean() < 1


def test_nothing_shrinks_at_learning_rate_zero() -> None:
    model = MLP.model()
    optimizer = narrow(model, shrink=1000.0)
    train(model, optimizer, MLP.batches(1))
    before = weights(model)
    optimizer.param_groups[0]["lr"] = 0.0
    train(model, optimizer, MLP.batches(3))
    assert same(model.parameters(), before)


def _masks(last: Batch, **options) -> tuple[Tensor, Tensor]:
    """Masks of two steps that differ from run to run in the batch of the second alone."""
    model = MLP.model()
    optimizer = narrow(model, **options)
    *_, q1, _ = _masked_step(optimizer, model, MLP.batches()[0])
    *_, q2, _ = _masked_step(optimizer, model, last)
    return q1, q2


def test_shared_masks_do_not_depend_on_their_own_batch() -> None:
    _, second, third, _ = MLP.batches()
    assert same(_masks(second), _masks(third))
    assert _masks(second)[1].sum() > 0


def test_current_masks_depend_on_their_own_batch() -> None:
    _, second, third, _ = MLP.batches()
    options = {"mask": "shared-current", "sparsity": 1.0, "floor": 0.0, "memory": 0.0}
    (a1, a2), (b1, b2) = _masks(second, **options), _masks(third, **options)
    assert torch.equal(a1, b1) and not torch.equal(a2, b2)


def test_masks_are_a_function_of_the_seed() -> None:
    batch = MLP.batches()[1]
    assert same(_masks(batch, seed=3), _masks(batch, seed=3))
    assert not same(_masks(batch, seed=3), _masks(batch, seed=4))


@quiet
@pytest.mark.parametrize("mask", MASKS.values(), ids=list(MASKS))
def test_no_random_number_is_taken_from_torch(mask: dict) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **mask)
    before = torch.get_rng_state()
    train(model, optimizer, MLP.batches(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_masks_of_steps_and_layers_differ() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, CLASSES))
    options = {"lr": 0.0, "layers": "all", "block_size": 4, "sparsity": -1e9, "horizon": 0}
    optimizer = InterpretableSGD(model.parameters(), **options)
    batch = torch.rand(6, 8), torch.arange(6) % CLASSES
    # At learning rate 0 probabilities stay as they are from the second step on.
    sums = [{name: torch.zeros(()) for name in ("0", "2", "3")}]
    for step in range(1, 4):
        train(model, optimizer, [batch])
        sums.append({name: step * u.selected for name, u in optimizer.routed_units().items()})
    masks = [{n: after[n] - before[n] for n in after} for before, after in itertools.pairwise(sums)]
    _, second, third = masks
    assert not torch.equal(third["0"], third["2"])
    assert all(not torch.equal(second[name], third[name]) for name in third)


@quiet
def test_per_sample_gradients_are_masked_where_they_are_seen() -> None:
    """One sample and exact top-K: every row of `.grad` has the K largest contributions only."""
    model, ((x, y), *_) = MLP.model(), MLP.batches()
    options = {"mask": "per-sample", "sparsity": 1.0, "floor": 0.0, "lipschitz": "activation"}
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, block_size=3, **options)
    hidden = model[:2](x[:1]).detach()
    plain = MLP.model()
    cross_entropy(plain(x[:1]), y[:1]).backward()
    cross_entropy(model(x[:1]), y[:1]).backward()
    kept = torch.zeros(20)
    kept[hidden[0].topk(3).indices] = 1
    assert torch.equal(model[2].weight.grad, plain[2].weight.grad * kept)
    assert same(
        [model[0].weight.grad, model[0].bias.grad, model[2].bias.grad],
        [plain[0].weight.grad, plain[0].bias.grad, plain[2].bias.grad],
    ), "masks act on the routed weight alone"
    before, gradient = model[2].weight.detach().clone(), model[2].weight.grad.clone()
    optimizer.step()
    torch.testing.assert_close(model[2].weight.detach(), before - 0.1 * gradient)
    assert torch.equal(_only(optimizer).selected, kept.expand(CLASSES, -1))


@quiet
def test_per_sample_masks_do_not_depend_on_param_groups() -> None:
    def trained(*groups: list[nn.Parameter]) -> list[Tensor]:
        model = MLP.model()
        named = list(model.parameters())
        chosen = [{"params": [named[i] for i in group]} for group in groups]
        optimizer = InterpretableSGD(chosen, lr=0.1, mask="per-sample", block_size=2)
        train(model, optimizer, MLP.batches())
        return weights(model)

    assert same(trained([0, 1, 2, 3]), trained([0, 1], [2, 3]))


@quiet
def test_a_layer_of_one_unit_is_masked_per_sample() -> None:
    layer = nn.Linear(6, 1)
    optimizer = narrow(layer, mask="per-sample", block_size=1, sparsity=1.0, floor=0.0)
    layer(torch.rand(1, 6)).sum().backward()
    assert (layer.weight.grad != 0).sum() == 1
    optimizer.detach()


@quiet
def test_whole_rows_under_autocast_have_autograds_gradient() -> None:
    gradients = []
    for routed in (True, False):
        model, (x, y) = MLP.model(), MLP.batches()[0]
        options = {"layers": "all", "mask": "per-sample", "block_size": 1000}
        optimizer = narrow(model, **options) if routed else torch.optim.SGD(model.parameters(), 0.1)
        with torch.autocast("cpu", torch.bfloat16):
            loss = cross_entropy(model(x), y)
        loss.backward()
        gradients.append(model[0].weight.grad)
        del optimizer
    torch.testing.assert_close(*gradients, rtol=1e-2, atol=1e-3)


@quiet
def test_per_sample_weight_decay_acts_inside_the_mean_mask() -> None:
    model = MLP.model()
    optimizer = narrow(model, mask="per-sample", weight_decay=0.3)
    before, gradient, share, after = _masked_step(optimizer, model, MLP.batches()[0])
    assert ((share > 0) & (share < 1)).any()
    torch.testing.assert_close(after, before - 0.1 * (gradient + 0.3 * share * before))


def test_per_sample_masks_warn_once(recwarn: pytest.WarningsRecorder) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, mask="per-sample", layers="all")
    train(model, optimizer, MLP.batches(3))
    assert [str(w.message) for w in recwarn if "counterexample CE3" in str(w.message)] != []
    assert len(recwarn) == 1


def test_defaults_warn_of_nothing(case: Case, recwarn: pytest.WarningsRecorder) -> None:
    model = case.model()
    train(model, InterpretableSGD(model.parameters(), lr=0.1), case.batches())
    assert not recwarn.list


def test_training_ends_with_about_block_size_weights_per_class() -> None:
    """64 inputs, of which 3 each decide a class: all is fitted through 5 connections or fewer."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(256, 64, generator=generator)
    y = torch.stack([x[:, 3 * c : 3 * c + 3].sum(1) for c in range(CLASSES)]).argmax(0)
    torch.manual_seed(0)
    model = nn.Linear(64, CLASSES)
    optimizer = InterpretableSGD(model.parameters(), lr=0.5, momentum=0.9, horizon=150)
    train(model, optimizer, [(x, y)] * 500)
    support = _only(optimizer).support
    assert support.sum(1).float().mean() <= 5.5
    assert (model(x).argmax(1) == y).float().mean() >= 0.9


@quiet
@pytest.mark.parametrize("mask", MASKS.values(), ids=list(MASKS))
def test_routed_units_read_back_what_was_routed(mask: dict) -> None:
    model = MLP.model()
    options = {"lr": 0.1, "block_size": 3, "layers": "all"} | mask
    optimizer = InterpretableSGD(model.parameters(), **options)
    assert optimizer.routed_units() == {}
    train(model, optimizer, MLP.batches())
    units = optimizer.routed_units(threshold=0.1)
    assert list(units) == ["0", "2"]
    for name, read in units.items():
        weight = model[int(name)].weight
        for tensor in (read.probabilities, read.selected):
            assert tensor.shape == weight.shape
            assert tensor.min() >= 0 and tensor.max() <= 1
        assert torch.equal(read.support, weight.detach().abs() >= 0.1)
        assert read.support.any() and not read.support.all()
        if mask.get("probabilities") != "paper":
            assert read.block_size == pytest.approx(3)
            assert read.probabilities.sum(1).max() <= 3 + 1e-4


@quiet
@pytest.mark.parametrize("steps", [1, 3])
def test_the_mean_probabilities_of_masks_per_sample_sum_to_the_block(steps: int) -> None:
    """Constants of positive inputs are positive, so that no sample's block falls short."""
    layer = torch.nn.Linear(12, 4)
    options = {"block_size": 3, "mask": "per-sample", "lipschitz": "activation"}
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1, **options)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(steps, 9, 12, generator=generator) + 0.1
    train(layer, optimizer, [(part, torch.arange(9) % 4) for part in x])
    sums = _only(optimizer).probabilities.sum(1)
    torch.testing.assert_close(sums, torch.full_like(sums, 3))


@quiet
@pytest.mark.parametrize("mask", ["shared", "per-sample"])
def test_whole_rows_have_probability_1(mask: str) -> None:
    layer = nn.Linear(6, CLASSES)
    optimizer = narrow(layer, block_size=6, mask=mask)
    train(layer, optimizer, MLP.batches(1))
    assert (_only(optimizer).probabilities == 1).all()


@quiet
def test_without_a_finite_statistic_masks_per_sample_have_no_probabilities_yet() -> None:
    layer = nn.Linear(6, CLASSES)
    optimizer = narrow(layer, mask="per-sample", lr=0.0)
    (layer(torch.ones(2, 6)).sum() * torch.nan).backward()
    optimizer.step()
    assert (_only(optimizer).probabilities == 0).all()


def test_a_weight_as_large_as_the_threshold_is_in_the_support() -> None:
    layer = nn.Linear(6, CLASSES)
    optimizer = narrow(layer, lr=0.0)
    nn.init.constant_(layer.weight, 0.5)
    train(layer, optimizer, MLP.batches(1))
    (units,) = optimizer.routed_units(threshold=0.5).values()
    assert units.support.all()


def test_the_support_starts_at_a_thousandth() -> None:
    layer = nn.Linear(6, CLASSES)
    optimizer = narrow(layer, lr=0.0)
    nn.init.constant_(layer.weight, 0.00099)
    layer.weight.data[0] = -0.00101
    train(layer, optimizer, MLP.batches(1))
    assert _only(optimizer).support.all(1).tolist() == [True] + [False] * (CLASSES - 1)


def test_routed_units_are_new_tensors() -> None:
    model = MLP.model()
    optimizer = narrow(model)
    train(model, optimizer, MLP.batches())
    before = weights(model), _only(optimizer).selected
    for tensor in _only(optimizer)[:3]:
        tensor.zero_()
    assert same(weights(model), before[0]) and torch.equal(_only(optimizer).selected, before[1])


def test_routed_units_of_paper_probabilities_ignore_the_block_size() -> None:
    """Algorithm 3's probabilities know no K, so no layer is too narrow to be masked."""
    torch.manual_seed(0)
    model = nn.Linear(4, CLASSES)
    options = {"probabilities": "paper", "block_size": 5}
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **options)
    train(model, optimizer, [(torch.rand(9, 4), torch.arange(9) % CLASSES)])
    assert float(_only(optimizer).probabilities.sum()) == pytest.approx(1.0, abs=1e-5)


@quiet
def test_bias_ratio_is_of_per_sample_layers() -> None:
    model = MLP.model()
    groups = [
        {"params": model[0].parameters(), "layers": "all"},
        {"params": model[2].parameters(), "layers": "all", "mask": "per-sample"},
    ]
    optimizer = InterpretableSGD(groups, lr=0.1)
    train(model, optimizer, MLP.batches())
    assert list(optimizer.routed_units()) == ["0", "2"]
    ((name, theta),) = optimizer.bias_ratio().items()
    assert name == "2" and theta.shape == model[2].weight.shape
    assert not theta.isnan().any() and theta.min() >= 0 and (theta > 0).any()


@quiet
@pytest.mark.parametrize("scale", [65536.0, -1.0, -65536.0])
def test_bias_ratio_does_not_depend_on_the_scale_of_the_loss(scale: float) -> None:
    """theta is free of scale, so that a GradScaler and the sign of the gradients cancel."""

    def read(scale: float) -> tuple[Tensor, Tensor]:
        model = MLP.model()
        optimizer = InterpretableSGD(model.parameters(), lr=0.0, mask="per-sample")
        for input, target in MLP.batches(3):
            optimizer.zero_grad()
            (scale * cross_entropy(model(input), target)).backward()
            optimizer.step()
        return optimizer.bias_ratio()["2"], _only(optimizer).probabilities

    (theta, pi), (scaled_theta, scaled_pi) = read(1.0), read(scale)
    assert pi.sum() > 1 and theta.max() > 0.1
    torch.testing.assert_close(scaled_pi, pi, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(scaled_theta, theta, rtol=1e-2, atol=1e-4)


def test_sparse_gradients_of_routed_layers_are_an_error_and_update_nothing() -> None:
    model = MLP.model()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters()}]
    optimizer = InterpretableSGD(groups, lr=0.1, momentum=0.9, horizon=0)
    train(model, optimizer, MLP.batches())
    head = model[2].weight
    state = {key: value.clone() for key, value in optimizer.state[head].items() if key == "moments"}
    steps = optimizer.state[head]["routed_steps"]
    before = weights(model)
    head.grad = head.grad.to_sparse()
    with pytest.raises(RuntimeError, match=r"a routed layer needs a dense gradient, got .* for 2"):
        optimizer.step()
    assert same(model.parameters(), before), "nothing is updated then"
    assert torch.equal(optimizer.state[head]["moments"], state["moments"])
    assert optimizer.state[head]["routed_steps"] == steps


def test_complex_weights_that_are_chosen_are_an_error() -> None:
    layer = nn.Linear(3, 2, dtype=torch.complex64)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1, layers="all")
    with pytest.raises(TypeError, match="layers must not choose complex weights, got Linear"):
        layer(torch.randn(4, 3, dtype=torch.complex64))
    optimizer.detach()


def test_a_real_head_behind_complex_layers_is_routed() -> None:
    class Phases(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 20, dtype=torch.complex64)
            self.head = nn.Linear(20, CLASSES)

        def forward(self, input: Tensor) -> Tensor:
            return self.head(self.inner(input.to(torch.complex64)).abs())

    model = Phases()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, MLP.batches(2))
    assert list(optimizer.routed_units()) == ["head"]


def test_nan_gradients_reach_weights_but_no_statistic() -> None:
    """As with torch.optim.SGD, what to do with a NaN gradient is the caller's choice."""
    model, (batch, (x, y), *_) = MLP.model(), MLP.batches()
    optimizer = narrow(model, shrink=0)
    train(model, optimizer, [batch])
    moments = optimizer.state[model[2].weight]["moments"].clone()
    x[0, 0] = torch.nan
    _, _, q, after = _masked_step(optimizer, model, (x, y))
    assert torch.equal(optimizer.state[model[2].weight]["moments"], moments)
    assert model[0].weight.isnan().any()
    assert after[q == 1].isnan().all() and q.sum() > 0


@quiet
@pytest.mark.parametrize("mask", MASKS.values(), ids=list(MASKS))
def test_half_precision_models_train(mask: dict) -> None:
    model = MLP.model().bfloat16()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, momentum=0.9, **mask)
    before = weights(model)
    train(model, optimizer, [(x.bfloat16(), y) for x, y in MLP.batches()])
    assert all(p.dtype == torch.bfloat16 and p.isfinite().all() for p in model.parameters())
    assert not any(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert optimizer.state[model[2].weight]["moments"].dtype == torch.float32


@quiet
@pytest.mark.parametrize("mask", MASKS.values(), ids=list(MASKS))
@pytest.mark.parametrize("name", CASES)
def test_every_mode_trains_every_layer_kind(name: str, mask: dict) -> None:
    if "unit" in mask.get("draw", "") and "conv" in name:
        pytest.skip("unit draws are for Linear layers")
    case = CASES[name]
    model = case.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.05, layers="all", **mask)
    before = weights(model)
    train(model, optimizer, case.batches(6))
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert not any(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    owned = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert len(optimizer.routed_units()) == len(owned)


@pytest.mark.parametrize(
    ("name", "layers"), [("convolutions", "all"), ("convolution head", "head")]
)
def test_unit_draws_of_convolutions_are_an_error(name: str, layers: str) -> None:
    case = CASES[name]
    model = case.model()
    options = {"mask": "per-sample", "draw": "unit", "lipschitz": "weight", "layers": layers}
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **options)
    with pytest.raises(ValueError, match="draw='unit' needs Linear layers, got Conv2d"):
        train(model, optimizer, case.batches())
    optimizer.detach()


@quiet
def test_unit_draws_of_sequences_are_an_error() -> None:
    options = {"mask": "per-sample", "draw": "unit", "lipschitz": "weight"}
    layer = nn.Linear(6, CLASSES)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1, **options)
    loss = layer(torch.randn(2, 3, 6)).sum()
    with pytest.raises(ValueError, match=r"draw='unit' needs Linear layers on \(batch, features\)"):
        loss.backward()
    optimizer.detach()


def test_nothing_shrinks_while_the_learning_rate_has_always_been_0() -> None:
    model = MLP.model()
    before = weights(model)
    train(model, narrow(model, lr=0.0, shrink=1000.0), MLP.batches())
    assert same(model.parameters(), before)


def test_silent_connections_share_what_a_row_has_left() -> None:
    """Two of six inputs are ever active: each row spends the rest of its block on the four others."""
    torch.manual_seed(0)
    layer = nn.Linear(6, CLASSES)
    optimizer = narrow(layer, block_size=4, lipschitz="weight", floor=0.0, shrink=0)
    x = torch.rand(12, 6) * torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    train(layer, optimizer, [(x, torch.arange(12) % CLASSES)] * 2)
    expected = torch.tensor([1.0, 1.0, 0.5, 0.5, 0.5, 0.5])
    torch.testing.assert_close(_only(optimizer).probabilities, expected.expand(CLASSES, -1))


@quiet
@pytest.mark.parametrize("mask", ["shared", "per-sample"])
def test_gates_of_half_precision_weights_are_computed_wide(mask: str) -> None:
    """Weights that bfloat16 squares would make equal rank as they are."""
    layer = nn.Linear(2, 1, dtype=torch.bfloat16)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 1.0078125]]))
    optimizer = narrow(layer, block_size=1, sparsity=0.9, floor=0.0, lr=0.0, mask=mask)
    for _ in range(2):
        optimizer.zero_grad()
        layer(torch.ones(3, 2, dtype=torch.bfloat16)).sum().backward()
        optimizer.step()
    ratio = 1.0078125 ** (2 * 10)
    pi = torch.tensor([[1 / (1 + ratio), ratio / (1 + ratio)]])
    torch.testing.assert_close(_only(optimizer).probabilities, pi, rtol=1e-4, atol=1e-5)


def test_shared_shares_of_whole_rows_count_as_1() -> None:
    model = MLP.model()
    optimizer = narrow(model, block_size=20)
    train(model, optimizer, MLP.batches(3))
    assert (optimizer.state[model[2].weight]["selected"] == 3).all()


@quiet
@pytest.mark.parametrize(
    ("mask", "score", "kept"),
    [("shared", "gate", True), ("shared", "softmax", False), ("per-sample", "gate", False)],
)
def test_only_gates_of_shared_masks_remember_the_gradient(
    mask: str, score: str, kept: bool
) -> None:
    model = MLP.model()
    optimizer = narrow(model, mask=mask, lipschitz=score)
    train(model, optimizer, MLP.batches(2))
    assert optimizer.state[model[2].weight]["drift"].any() == kept


@quiet
def test_per_sample_shares_add_up_over_steps_and_whole_rows_count_as_1() -> None:
    model = MLP.model()
    optimizer = narrow(model, mask="per-sample", block_size=20)
    train(model, optimizer, MLP.batches(3))
    state = optimizer.state[model[2].weight]
    assert (state["selected"] == 3).all()
    optimizer.param_groups[0]["block_size"] = 6
    shares = [_masked_step(optimizer, model, batch)[2] for batch in MLP.batches(2)]
    assert all(0 < share.mean() < 0.5 for share in shares)
    torch.testing.assert_close(state["selected"], 3 + shares[0] + shares[1])


@quiet
def test_per_sample_steps_that_maximize_go_up() -> None:
    model = MLP.model()
    optimizer = narrow(model, mask="per-sample", maximize=True)
    before, gradient, _, after = _masked_step(optimizer, model, MLP.batches()[0])
    torch.testing.assert_close(after, before + 0.1 * gradient)
    assert gradient.any()


@quiet
def test_unbiased_per_sample_steps_decay_everything() -> None:
    """Their mean is the plain step, decay included."""
    model = MLP.model()
    options = {"mask": "per-sample", "correction": "unbiased", "weight_decay": 0.3}
    optimizer = narrow(model, **options)
    before, gradient, share, after = _masked_step(optimizer, model, MLP.batches()[0])
    assert (share < 1).any()
    torch.testing.assert_close(after, before - 0.1 * (gradient + 0.3 * before))


@pytest.mark.parametrize(
    ("score", "signed", "parts"),
    [("gate", False, 1), ("gate", True, 2), ("softmax", True, 1)],
)
def test_only_gates_of_signed_inputs_keep_a_second_statistic(
    score: str, signed: bool, parts: int
) -> None:
    layer = nn.Linear(3, 2)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1, lipschitz=score)
    layer(torch.randn(4, 3) if signed else torch.rand(4, 3)).sum().backward()
    optimizer.step()
    assert optimizer.state[layer.weight]["moments"].shape == (parts, 2, 3)


@pytest.mark.parametrize(
    ("dtype", "kept"), [(torch.float16, torch.float32), (torch.float64, torch.float64)]
)
def test_a_new_state_is_where_the_weight_is_and_at_least_float32(
    dtype: torch.dtype, kept: torch.dtype
) -> None:
    weight = torch.empty(2, 3, dtype=dtype, device="meta")
    state = update.blank((1, 2, 3), weight)
    held = [state[key] for key in update.TENSORS]
    assert [(t.dtype, t.device) for t in held] == [(kept, weight.device)] * 3


def test_a_state_follows_its_weight_to_another_device() -> None:
    state = update.blank((1, 2, 3), torch.empty(2, 3))
    update.follow(state, torch.device("meta"))
    assert all(state[key].is_meta for key in update.TENSORS)

"""What holds for the optimizers over every base: what stays the base's own, and what routing adds."""

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from interpretable_sgd import InterpretableAdamW, InterpretableSGD
from tests.models import CASES, CLASSES, METHODS, MLP, Batch, Case, same, train, weights

SGD = {
    "plain": {},
    "decay": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.9, "weight_decay": 0.01},
    "nesterov": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "nesterov alone": {"momentum": 0.9, "nesterov": True},
    "dampening": {"momentum": 0.9, "dampening": 0.5},
    "maximize": {"maximize": True, "momentum": 0.9, "weight_decay": 0.01},
    "tensor lr": {"lr": torch.tensor(0.05), "momentum": 0.9},
}
ADAMW = {
    "AdamW": {},
    "AdamW, decay": {"weight_decay": 0.3},
    "AdamW, amsgrad": {"amsgrad": True, "betas": (0.8, 0.9)},
    "AdamW, maximize": {"maximize": True},
}
BASES = {
    **{name: (InterpretableSGD, torch.optim.SGD, {"lr": 0.1} | o) for name, o in SGD.items()},
    **{
        name: (InterpretableAdamW, torch.optim.AdamW, {"lr": 0.01} | o) for name, o in ADAMW.items()
    },
}
KERNELS = {
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "default": {},
    "fused": {"fused": True},
}
bases = pytest.mark.parametrize("base", BASES.values(), ids=list(BASES))
kernels = pytest.mark.parametrize("kernel", KERNELS.values(), ids=list(KERNELS))
methods = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
quiet = pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")


def held(optimizer: torch.optim.Optimizer, *names: str) -> list[Tensor]:
    """The base optimizer's own tensors."""
    states = [optimizer.state[p] for group in optimizer.param_groups for p in group["params"]]
    names = names or ("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step")
    return [s[name] for s in states for name in names if isinstance(s.get(name), Tensor)]


@pytest.mark.parametrize(
    ("kind", "base"),
    [(InterpretableSGD, torch.optim.SGD), (InterpretableAdamW, torch.optim.AdamW)],
)
def test_is_one_of_torchs(kind: type, base: type, model: nn.Module) -> None:
    assert isinstance(kind(model.parameters()), base)


# What stays the base optimizer's own.


@pytest.mark.parametrize("options", [{"layers": "none"}, {"block_size": 1000, "layers": "all"}])
@kernels
@bases
def test_whole_rows_and_unrouted_models_are_the_bases_bit_for_bit(
    case: Case, base: tuple, kernel: dict, options: dict
) -> None:
    (kind, plain, arguments), ours, theirs = base, case.model(), case.model()
    routed = kind(ours.parameters(), **arguments, **kernel, form=1, settle=2, **options)
    dense = plain(theirs.parameters(), **arguments, **kernel)
    train(ours, routed, case.batches())
    train(theirs, dense, case.batches())
    assert same(ours.parameters(), theirs.parameters())
    assert len(held(routed)) == len(held(dense))
    assert not held(dense) or same(held(routed), held(dense))


def without_bias() -> nn.Module:
    model = MLP.model()
    model[2] = nn.Linear(20, CLASSES, bias=False)
    return model


@kernels
@bases
def test_forming_a_head_without_a_bias_is_the_bases_bit_for_bit(base: tuple, kernel: dict) -> None:
    """A bias is what centred steps need, see test_centring."""
    (kind, plain, arguments), ours = base, without_bias()
    theirs = copy.deepcopy(ours)
    forming = METHODS["form"]
    train(ours, kind(ours.parameters(), **arguments, **kernel, **forming), MLP.batches(5))
    train(theirs, plain(theirs.parameters(), **arguments, **kernel), MLP.batches(5))
    assert same(ours.parameters(), theirs.parameters())


@quiet
@methods
@kernels
@bases
def test_unrouted_parameters_of_a_routed_model_are_the_bases_bit_for_bit(
    base: tuple, kernel: dict, method: dict
) -> None:
    (kind, plain, arguments), model = base, MLP.model()
    optimizer = kind(model.parameters(), **arguments, **kernel, **method)
    twins = [parameter.detach().clone().requires_grad_() for parameter in model.parameters()]
    dense = plain(twins, **arguments, **kernel)
    for input, target in MLP.batches(5):
        optimizer.zero_grad()
        cross_entropy(model(input), target).backward()
        for twin, parameter in zip(twins, model.parameters(), strict=True):
            twin.grad = parameter.grad.clone()
        dense.step()
        optimizer.step()
    equal = [torch.equal(p, twin) for p, twin in zip(model.parameters(), twins, strict=True)]
    names = [name for name, _ in model.named_parameters()]
    # Algorithm 3 selects in `.grad`, and the update is the base's.
    as_selected = method == METHODS["algorithm3"]
    assert dict(zip(names, equal, strict=True)) == {
        "0.weight": True,
        "0.bias": True,
        "2.weight": as_selected,
        "2.bias": method != METHODS["form"],
    }


@quiet
@methods
@pytest.mark.parametrize("kernel", ["for-loop", "foreach", "fused"])
@bases
def test_step_leaves_gradients_alone(base: tuple, method: dict, kernel: str) -> None:
    """But for torch's own foreach Nesterov without decay, which adds the momentum to them."""
    (kind, _, arguments), model = base, MLP.model()
    optimizer = kind(model.parameters(), **arguments, **method, **KERNELS[kernel])
    torchs_own = (
        kernel == "foreach" and arguments.get("nesterov") and "weight_decay" not in arguments
    )
    for input, target in MLP.batches(4):
        optimizer.zero_grad()
        cross_entropy(model(input), target).backward()
        kept = [parameter.grad for parameter in model.parameters()]
        before = [gradient.clone() for gradient in kept]
        optimizer.step()
        assert all(p.grad is g for p, g in zip(model.parameters(), kept, strict=True))
        assert torchs_own or same(kept, before)


@quiet
@methods
def test_no_random_number_is_taken_from_torch(method: dict) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **method)
    before = torch.get_rng_state()
    train(model, optimizer, MLP.batches(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_tensor_rate_of_adamw_is_a_float_rate() -> None:
    results = []
    for rate in (0.01, torch.tensor(0.01)):
        model = MLP.model()
        optimizer = InterpretableAdamW(model.parameters(), lr=rate, form=1, settle=3)
        train(model, optimizer, MLP.batches())
        results.append(weights(model))
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right)


# Settled.


class OnSupport(nn.Module):
    """The network that is left: a head of the supported weights alone, each a number of its own."""

    def __init__(self, model: nn.Module, support: Tensor) -> None:
        super().__init__()
        self.support = support
        self.values = nn.Parameter(model[2].weight.detach()[support].clone())
        self.body = nn.Linear(6, 20, dtype=self.values.dtype)
        self.body.load_state_dict(model[0].state_dict())
        self.bias = nn.Parameter(model[2].bias.detach().clone())

    def forward(self, input: Tensor) -> Tensor:
        weight = torch.zeros(self.support.shape, dtype=input.dtype)
        weight = weight.masked_scatter(self.support, self.values)
        return linear(self.body(input).relu(), weight, self.bias)


def continued(
    plain: type[torch.optim.Optimizer],
    small: OnSupport,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    arguments: dict[str, Any],
) -> torch.optim.Optimizer:
    """The base optimizer on the small network, with the state that the large one has there."""
    pairs = {
        small.body.weight: model[0].weight,
        small.body.bias: model[0].bias,
        small.values: model[2].weight,
        small.bias: model[2].bias,
    }
    base = plain(list(pairs), **arguments)
    own = {"momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"}
    for parameter, large in pairs.items():
        for key in own & optimizer.state[large].keys():
            value = optimizer.state[large][key]
            if isinstance(value, Tensor) and value.shape == model[2].weight.shape:
                assert not value[~small.support].any(), "nothing is left off the support"
                value = value[small.support]
            base.state[parameter][key] = value.clone() if isinstance(value, Tensor) else value
    return base


def decaying(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)


@pytest.mark.parametrize("clipped", [False, True], ids=["", "clipped"])
@kernels
@bases
def test_settled_steps_are_the_bases_on_the_network_that_is_left(
    base: tuple, kernel: dict, clipped: bool
) -> None:
    """To 1e-12 over 40 steps, under a schedule, in float64 (Theorem H's identity)."""
    (kind, plain, arguments), model = base, MLP.model().double()
    ours, theirs = copy.deepcopy(arguments), copy.deepcopy(arguments)
    batches = [(x.double(), y) for x, y in MLP.batches(50)]
    options = {"form": 3, "settle": 10, "block_size": 3}
    optimizer = kind(model.parameters(), **ours, **kernel, **options)
    train(model, optimizer, batches[:10])
    assert optimizer.phase == "settle"
    support = model[2].weight.detach() != 0
    assert support.any(1).all() and support.sum(1).max() == 3

    small = OnSupport(model, support)
    left = continued(plain, small, model, optimizer, theirs | kernel)
    runs = [(model, optimizer, decaying(optimizer)), (small, left, decaying(left))]
    norms = []
    for (x, y), (net, own, rates) in itertools.product(batches[10:], runs):
        own.zero_grad()
        cross_entropy(net(x), y).backward()
        if clipped:
            norms.append(torch.nn.utils.clip_grad_norm_(net.parameters(), 0.3).item())
        own.step()
        rates.step()
    assert not clipped or (max(norms) > 0.3 and norms[::2] == pytest.approx(norms[1::2]))
    whole = model[2].weight.detach()
    assert not whole[~support].any()
    for ours, theirs in (
        (whole[support], small.values),
        (model[0].weight, small.body.weight),
        (model[0].bias, small.body.bias),
        (model[2].bias, small.bias),
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@bases
def test_a_settled_layer_has_no_hook_and_a_plain_forward(base: tuple) -> None:
    (kind, _, arguments), model = base, MLP.model()
    optimizer = kind(model.parameters(), **arguments, brake=0, form=1, settle=2)
    train(model, optimizer, MLP.batches(3))
    assert optimizer.phase == "settle"
    assert not any(module._forward_hooks for module in model.modules())
    x, _ = MLP.batches(1)[0]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        model(x)
    plain = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: plain.append(t.shape) or t, lambda t: t
    ):
        MLP.model()(x)
    assert kept == plain, "nothing more is kept for backward"


def test_gradients_off_the_support_are_0_for_the_user_too() -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(
        model.parameters(), lr=0.1, brake=0, form=1, settle=2, block_size=3
    )
    train(model, optimizer, MLP.batches(3))
    head = model[2].weight
    assert torch.equal(head.grad != 0, head != 0)


def test_what_is_written_off_the_support_does_not_stay() -> None:
    """The certificate of Theorem H is held by the step, whoever writes into the weight."""
    model = MLP.model()
    optimizer = InterpretableSGD(
        model.parameters(), lr=0.1, brake=0, form=1, settle=2, block_size=3
    )
    train(model, optimizer, MLP.batches(3))
    support = model[2].weight != 0
    model[2].weight.data += 1.0
    train(model, optimizer, MLP.batches(1))
    assert torch.equal(model[2].weight != 0, support)


# Layers and numbers of every kind.


@quiet
@methods
@pytest.mark.parametrize("kind", [InterpretableSGD, InterpretableAdamW])
@pytest.mark.parametrize("name", CASES)
def test_every_method_trains_every_layer_kind(name: str, kind: type, method: dict) -> None:
    case = CASES[name]
    model = case.model()
    optimizer = kind(model.parameters(), lr=0.05, layers="all", **method)
    before = weights(model)
    train(model, optimizer, case.batches(6))
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert not any(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    owned = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert len(optimizer.routed_units()) == len(owned)
    if method.get("settle") == 2:
        for layer in owned:
            assert (layer.weight != 0).flatten(1).sum(1).max() <= 3


@quiet
@methods
@pytest.mark.parametrize("kind", [InterpretableSGD, InterpretableAdamW])
def test_half_precision_models_train(kind: type, method: dict) -> None:
    model = MLP.model().bfloat16()
    optimizer = kind(model.parameters(), lr=0.1, **method)
    before = weights(model)
    train(model, optimizer, [(x.bfloat16(), y) for x, y in MLP.batches()])
    assert all(p.dtype == torch.bfloat16 and p.isfinite().all() for p in model.parameters())
    assert not any(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert optimizer.state[model[2].weight]["moments"].dtype == torch.float32


@quiet
@methods
@pytest.mark.parametrize("kind", [InterpretableSGD, InterpretableAdamW])
@pytest.mark.parametrize(
    "change",
    [lambda m: m.double(), lambda m: m.bfloat16(), lambda m: m.double().float()],
    ids=["double", "bfloat16", "there and back"],
)
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_model_may_change_its_dtype(steps: int, change, kind: type, method: dict) -> None:
    """After construction and after steps: statistics widen, and never narrow below float32."""
    model = MLP.model()
    optimizer = kind(model.parameters(), lr=0.1, **method)
    train(model, optimizer, MLP.batches(steps))
    change(model)
    for state in optimizer.state.values():
        # A base optimizer's own state is the caller's to move, as always.
        for key in ("momentum_buffer", "exp_avg", "exp_avg_sq"):
            if key in state:
                state[key] = state[key].to(model[0].weight.dtype)
    dtype = model[0].weight.dtype
    train(model, optimizer, [(x.to(dtype), y) for x, y in MLP.batches(3)])
    assert all(p.dtype == dtype and p.isfinite().all() for p in model.parameters())
    moments = optimizer.state[model[2].weight]["moments"]
    assert moments.dtype == torch.promote_types(dtype, torch.float32) and moments.isfinite().all()


def test_sparse_gradients_of_routed_layers_are_an_error_and_update_nothing() -> None:
    model = MLP.model()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters()}]
    optimizer = InterpretableSGD(groups, lr=0.1, momentum=0.9, form=2)
    train(model, optimizer, MLP.batches())
    head = model[2].weight
    moments, steps = (optimizer.state[head][key] for key in ("moments", "steps"))
    moments, before = moments.clone(), weights(model)
    head.grad = head.grad.to_sparse()
    with pytest.raises(RuntimeError, match=r"a routed layer needs a dense gradient, got .* for 2"):
        optimizer.step()
    assert same(model.parameters(), before), "nothing is updated then"
    assert torch.equal(optimizer.state[head]["moments"], moments)
    assert optimizer.state[head]["steps"] == steps


def test_complex_weights_that_are_chosen_are_an_error() -> None:
    layer = nn.Linear(3, 2, dtype=torch.complex64)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1, layers=layer)
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


# Gradients that come without statistics.

WITHOUT = (
    "the gradient of 2 came without the layer's statistics, .* trained plainly in such steps. Call"
)


def by_autograd_grad(model: nn.Module, batch: Batch) -> None:
    loss, parameters = cross_entropy(model(batch[0]), batch[1]), list(model.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient


def by_inputs(model: nn.Module, batch: Batch) -> None:
    cross_entropy(model(batch[0]), batch[1]).backward(inputs=list(model.parameters()))


def by_functional_call(model: nn.Module, batch: Batch) -> None:
    others = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    cross_entropy(torch.func.functional_call(model, others, (batch[0],)), batch[1]).backward()
    for parameter, other in zip(model.parameters(), others.values(), strict=True):
        parameter.grad = other.grad


WAYS = {"grad": by_autograd_grad, "inputs": by_inputs, "functional_call": by_functional_call}


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_gradients_without_statistics_are_reported_once_and_unmasked(way) -> None:
    """Shared masks: the plain step, and nothing shrinks for want of a statistic."""
    ours, theirs = MLP.model(), MLP.model()
    optimizer = InterpretableSGD(ours.parameters(), lr=0.1, **METHODS["shared"])
    train(ours, optimizer, MLP.batches(2))
    theirs.load_state_dict(ours.state_dict())
    dense = torch.optim.SGD(theirs.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match=WITHOUT) as record:
        for batch in MLP.batches(20):
            for model, own in ((ours, optimizer), (theirs, dense)):
                own.zero_grad()
                way(model, batch)
                own.step()
    assert len(record) == 1
    assert same(ours.parameters(), theirs.parameters())


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_a_routed_layer_without_statistics_settles_on_those_it_has(way) -> None:
    model = MLP.model()
    options = METHODS["route"] | {"settle": 20}
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **options)
    train(model, optimizer, MLP.batches(4))
    moments = optimizer.state[model[2].weight]["moments"].clone()
    with pytest.warns(UserWarning, match=WITHOUT) as record:
        for batch in MLP.batches(20):
            optimizer.zero_grad()
            way(model, batch)
            optimizer.step()
    assert len(record) == 1
    assert torch.equal(optimizer.state[model[2].weight]["moments"], moments)
    best = moments[2].topk(3).indices.tolist()
    for row, three in zip(model[2].weight, best, strict=True):
        assert row.any() and set(row.nonzero().flatten().tolist()) <= set(three)


def test_a_loss_too_small_for_its_square_is_reported() -> None:
    """delta^2 underflows, delta does not."""
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **METHODS["shared"])
    with pytest.warns(UserWarning, match=WITHOUT):
        for x, y in MLP.batches(3):
            optimizer.zero_grad()
            (cross_entropy(model(x), y) * 1e-30).backward()
            assert model[2].weight.grad.any()
            optimizer.step()


# What is read back.


@quiet
@methods
def test_routed_units_read_back_what_is_routed(method: dict) -> None:
    model = MLP.model()
    options = {"lr": 0.1, "layers": "all"} | method
    optimizer = InterpretableSGD(model.parameters(), **options)
    assert optimizer.routed_units() == {}
    train(model, optimizer, MLP.batches())
    units = optimizer.routed_units(threshold=0.1)
    assert list(units) == ["0", "2"]
    for name, read in units.items():
        weight = model[int(name)].weight
        assert torch.equal(read.support, weight.detach().abs() >= 0.1)
        assert read.support.any() and not read.support.all()
        assert read.strength.shape == weight.shape and (read.strength >= 0).all()
        sums = read.strength.sum(1)
        assert (((sums - 1).abs() < 1e-5) | (sums == 0)).all()
        assert read.settled == (method.get("settle") == 2)
        assert read.block_size == method.get("block_size", 5)


def test_strength_of_a_routed_layer_is_of_its_gates() -> None:
    """A row that reads one unit, whatever it weighs, has it for its whole strength."""
    layer = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.5]]))
    optimizer = InterpretableSGD(layer.parameters(), lr=0.0, block_size=1, form=1)
    train(layer, optimizer, [(torch.ones(6, 4), torch.arange(6) % 2)] * 4)
    (units,) = optimizer.routed_units().values()
    assert units.strength.tolist() == [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]


def test_a_weight_as_large_as_the_threshold_is_in_the_support() -> None:
    layer = nn.Linear(6, CLASSES)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.0)
    nn.init.constant_(layer.weight, 0.5)
    train(layer, optimizer, MLP.batches(1))
    # At a rate of 0 that has always been, a first step is a rehearsal only if nothing has run.
    (units,) = optimizer.routed_units(threshold=0.5).values()
    assert units.support.all()


def test_the_support_starts_at_a_thousandth() -> None:
    layer = nn.Linear(6, CLASSES)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.0)
    nn.init.constant_(layer.weight, 0.00099)
    layer.weight.data[0] = -0.00101
    train(layer, optimizer, MLP.batches(1))
    (units,) = optimizer.routed_units().values()
    assert units.support.all(1).tolist() == [True] + [False] * (CLASSES - 1)


@quiet
@methods
def test_routed_units_are_new_tensors(method: dict) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **method)
    train(model, optimizer, MLP.batches())
    (units,) = optimizer.routed_units().values()
    before = weights(model), optimizer.state[model[2].weight]["moments"].clone()
    for tensor in units[:2]:
        tensor.zero_()
    assert same(weights(model), before[0])
    assert torch.equal(optimizer.state[model[2].weight]["moments"], before[1])


def test_defaults_warn_of_nothing(case: Case, recwarn: pytest.WarningsRecorder) -> None:
    for kind in (InterpretableSGD, InterpretableAdamW):
        model = case.model()
        train(model, kind(model.parameters(), lr=0.1), case.batches())
    assert not recwarn.list


@pytest.mark.parametrize("kind", [InterpretableSGD, InterpretableAdamW])
def test_training_ends_with_block_size_weights_per_class(kind: type) -> None:
    """64 inputs, of which 3 each decide a class: all is fitted through 5 connections."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(256, 64, generator=generator)
    y = torch.stack([x[:, 3 * c : 3 * c + 3].sum(1) for c in range(CLASSES)]).argmax(0)
    torch.manual_seed(0)
    model = nn.Linear(64, CLASSES)
    arguments = {"lr": 0.5, "momentum": 0.9} if kind is InterpretableSGD else {"lr": 0.05}
    optimizer = kind(model.parameters(), **arguments, form=100, settle=200)
    train(model, optimizer, [(x, y)] * 500)
    (units,) = optimizer.routed_units().values()
    assert units.support.sum(1).max() <= 5
    assert (model(x).argmax(1) == y).float().mean() >= 0.9


# What is done to the optimizer from outside.


@pytest.mark.parametrize("edit", ["replaced", "appended", "popped"])
@quiet
@methods
def test_edited_param_groups_are_indexed_anew(edit: str, method: dict) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, momentum=0.9, **method)
    train(model, optimizer, MLP.batches(3))
    parameters = optimizer.param_groups[0]["params"]
    if edit == "replaced":
        model[2].weight = nn.Parameter(torch.rand(CLASSES, 20))
        parameters[2] = model[2].weight
    elif edit == "appended":
        model.append(nn.Linear(CLASSES, CLASSES))
        parameters.extend(model[3].parameters())
    else:
        parameters.pop(2)
    before = weights(model)
    train(model, optimizer, MLP.batches(3))
    moved = [not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)]
    assert moved == [True, True, edit != "popped", *[True] * (len(moved) - 3)]
    assert repr(optimizer)
    routed = [p for p in parameters if "moments" in optimizer.state[p]]
    expected = {"replaced": [model[2]], "popped": []}.get(edit, [model[2]])
    assert [id(p) for p in routed] == [id(layer.weight) for layer in expected]


@quiet
@methods
@pytest.mark.parametrize("how", ["clear", "new"])
def test_a_cleared_state_starts_afresh(how: str, method: dict) -> None:
    """As in torch.optim.SGD: momentum and statistics are those of a new optimizer."""
    ours, theirs = MLP.model(), MLP.model()
    first = InterpretableSGD(ours.parameters(), lr=0.1, momentum=0.9, **method)
    train(ours, first, MLP.batches(3))
    theirs.load_state_dict(ours.state_dict())
    if how == "clear":
        first.state.clear()
    else:
        first.state = type(first.state)(dict)
    fresh = InterpretableSGD(theirs.parameters(), lr=0.1, momentum=0.9, **method)
    train(ours, first, MLP.batches(4, seed=7))
    train(theirs, fresh, MLP.batches(4, seed=7))
    left = [first.state[p].get("moments") for p in ours.parameters()]
    right = [fresh.state[p].get("moments") for p in theirs.parameters()]
    assert [m is None for m in left] == [m is None for m in right] == [True, True, False, True]
    assert first.state[ours[2].weight]["steps"] == 4


def test_an_optimizer_can_be_made_of_its_defaults() -> None:
    """As Lightning's and Hugging Face's wrappers do; torch.optim.AdamW cannot."""
    model, twin, kind = MLP.model(), MLP.model(), InterpretableSGD
    optimizer = kind(model.parameters(), lr=0.1, block_size=3, form=1, settle=3)
    again = kind(twin.parameters(), **optimizer.defaults)
    train(model, optimizer, MLP.batches())
    train(twin, again, MLP.batches())
    assert same(model.parameters(), twin.parameters())

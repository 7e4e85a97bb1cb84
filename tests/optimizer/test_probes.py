"""What a tapped layer hands to the optimizer, whatever the model and the loop do with it."""

import copy
import io
import itertools
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, vmap
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer.probes import PROBE, WeightProbe
from tests.models import CASES, CLASSES, METHODS, MLP, Batch, same, train, weights

MODES = METHODS
quiet = pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")
modes = pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))


def moments(optimizer: InterpretableSGD, layer: nn.Module) -> Tensor:
    return optimizer.state[layer.weight]["moments"]


def attached(model: nn.Module, **options) -> InterpretableSGD:
    optimizer = InterpretableSGD(model.parameters(), **options)
    optimizer.attach(model)
    return optimizer


def observed(
    model: nn.Module, loss: Callable[[nn.Module], Tensor], owner: nn.Module, **options
) -> Tensor:
    """Statistic of one step, after one in which the layers are found; of inputs of both signs."""
    options = {"lr": 0.0} | METHODS["shared"] | options
    optimizer = InterpretableSGD(model.parameters(), **options)
    for _ in range(2):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    # The running mean starts at 0, and a step has a tenth of it.
    return 10 * moments(optimizer, owner)[1:].sum(0)


def masked(
    model: nn.Module, loss: Callable[[nn.Module], Tensor], **options
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients of the third backward, and weights after its step."""
    optimizer = InterpretableSGD(model.parameters(), **({"lr": 0.1, "block_size": 2} | options))
    for _ in range(3):
        optimizer.zero_grad()
        loss(model).backward()
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        optimizer.step()
    return gradients, weights(model)


def close(left: Tensor, right: Tensor) -> None:
    assert right.any()
    torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-6 * float(right.abs().max()))


def test_the_statistic_is_the_second_moment_of_inputs_and_errors() -> None:
    """L_cm = sum_i delta_ic^2 x_im^2, up to the scale that a step is counted with."""
    model, ((x, y), *_) = MLP.model(), MLP.batches()
    plain = MLP.model()
    hidden = plain[:2](x)
    logits = plain[2](hidden)
    logits.retain_grad()
    cross_entropy(logits, y).backward()
    expected = torch.einsum("ic,im->cm", logits.grad.square(), hidden.detach().square())
    read = observed(model, lambda m: cross_entropy(m(x), y), model[2])
    # Relative to the mean over both signs of the input, of which a ReLU leaves one.
    close(read, 2 * expected / expected.mean())


@modes
@quiet
def test_outputs_and_gradients_of_other_parameters_are_unchanged(mode: dict) -> None:
    for case in CASES.values():
        ours, theirs = case.model(), case.model()
        optimizer = attached(ours, lr=0.1, **mode)
        x, y = case.batches()[0]
        (x1, x2) = (x.clone().requires_grad_() for _ in range(2))
        output, expected = ours(x1), theirs(x2)
        assert torch.equal(output, expected)
        cross_entropy(output, y).backward()
        cross_entropy(expected, y).backward()
        assert torch.equal(x1.grad, x2.grad)
        head = ours if case.head == "Linear" else ours.get_submodule(case.head)
        pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
        assert all(torch.equal(p.grad, q.grad) for p, q in pairs if p is not head.weight)
        optimizer.detach()


class InPlace(nn.Module):
    """In-place activations right after the routed layers, at any number of positions."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 20), nn.Linear(20, CLASSES)
        self.act = nn.LeakyReLU(0.2, inplace=inplace)

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.two(self.act(self.one(input))))


@pytest.mark.row(
    "Layers and models", "in-place activations after a routed layer", "as out of place"
)
@modes
@quiet
@pytest.mark.parametrize("shape", [(6,), (3, 6)], ids=["rows", "sequences"])
def test_in_place_activations(shape: tuple[int, ...], mode: dict) -> None:
    x = torch.randn(*shape[::-1], 5).movedim(-1, 0).mT if shape[1:] else torch.randn(5, *shape)
    assert x.shape == (5, *shape)
    models = [InPlace(inplace) for inplace in (False, True)]
    models[1].load_state_dict(models[0].state_dict())
    results = [
        masked(model, lambda m: m(x).square().mean(), **({"layers": "all", "lr": 0.01} | mode))
        for model in models
    ]
    assert same(results[0][0], results[1][0]) and same(results[0][1], results[1][1])


class Twice(nn.Module):
    """One layer called on both halves of the features."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.head = nn.Linear(3, 20), nn.Linear(20, CLASSES)

    def forward(self, input: Tensor) -> Tensor:
        return self.head(self.shared(input[:, :3]).relu() + self.shared(input[:, 3:]).relu())


class Tied(Twice):
    """The same by two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(3, 20)
        self.other.weight, self.other.bias = self.shared.weight, self.shared.bias

    def forward(self, input: Tensor) -> Tensor:
        return self.head(self.shared(input[:, :3]).relu() + self.other(input[:, 3:]).relu())


class Stacked(Twice):
    """The same in one call on twice as many samples."""

    def forward(self, input: Tensor) -> Tensor:
        first, second = self.shared(torch.cat([input[:, :3], input[:, 3:]])).relu().chunk(2)
        return self.head(first + second)


@pytest.mark.row(
    "Layers and models", "tied weights, and modules called several times", "statistics add up"
)
@pytest.mark.parametrize("repeated", [Twice, Tied])
def test_calls_of_one_weight_add_up(repeated: type[Twice]) -> None:
    x, y = MLP.batches()[0]
    whole, parts = Stacked(), repeated()
    parts.load_state_dict(whole.state_dict(), strict=False)
    read = [
        observed(model, lambda m: cross_entropy(m(x), y), model.shared, layers="all")
        for model in (parts, whole)
    ]
    close(*read)


class Recomputed(nn.Module):
    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(6, 9), nn.Linear(9, 20), nn.Linear(20, CLASSES)
        self.reentrant = reentrant

    def _block(self, input: Tensor) -> Tensor:
        return self.two(self.one(input).relu_()).relu_()

    def forward(self, input: Tensor) -> Tensor:
        if self.reentrant is None:
            return self.head(self._block(input))
        leaf = input.clone().requires_grad_()
        return self.head(checkpoint(self._block, leaf, use_reentrant=self.reentrant))


@pytest.mark.row(
    "Training loop", "activation checkpointing, both kinds", "bit for bit as without: counted once"
)
@modes
@quiet
@pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
def test_activation_checkpointing_counts_once(reentrant: bool, mode: dict) -> None:
    results = []
    for how in (None, reentrant):
        torch.manual_seed(0)
        model = Recomputed(how)
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers="all", **mode)
        train(model, optimizer, MLP.batches())
        results.append([*weights(model), *(moments(optimizer, m) for m in (model.one, model.two))])
    assert same(*results)


@pytest.mark.row(
    "Training loop",
    "gradient accumulation",
    "k micro-batches are routed as one batch, to rounding",
)
@quiet
@pytest.mark.parametrize("parts", [2, 3, 4])
def test_micro_batches_are_one_batch(parts: int) -> None:
    def run(parts: int, model: nn.Module) -> tuple[InterpretableSGD, list[Tensor]]:
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers="all", **METHODS["route"])
        masks = []
        for x, y in MLP.batches():
            optimizer.zero_grad()
            for piece in zip(x.chunk(parts), y.chunk(parts), strict=True):
                (cross_entropy(model(piece[0]), piece[1]) / parts).backward()
            optimizer.step()
            masks.append(model[2].weight != 0)
        return optimizer, masks

    whole, pieces = MLP.model(), MLP.model()
    (one, one_masks), (many, many_masks) = run(1, whole), run(parts, pieces)
    for layer, twin in ((whole[0], pieces[0]), (whole[2], pieces[2])):
        torch.testing.assert_close(moments(many, twin), moments(one, layer), rtol=1e-5, atol=1e-6)
    assert same(one_masks, many_masks)


def test_micro_batches_leave_the_statistic_of_one_batch() -> None:
    x, y = MLP.batches()[0]

    def accumulated(model: nn.Module) -> Tensor:
        pieces = zip(x.chunk(4), y.chunk(4), strict=True)
        return sum(cross_entropy(model(a), b) / 4 for a, b in pieces)

    def backwards(model: nn.Module) -> Tensor:
        *first, last = zip(x.chunk(4), y.chunk(4), strict=True)
        for a, b in first:
            (cross_entropy(model(a), b) / 4).backward()
        return cross_entropy(model(last[0]), last[1]) / 4

    whole, joint, apart = (MLP.model() for _ in range(3))
    expected = observed(whole, lambda m: cross_entropy(m(x), y), whole[2])
    close(observed(joint, accumulated, joint[2]), expected)
    close(observed(apart, backwards, apart[2]), expected)


@pytest.mark.row("Training loop", "evaluation between steps", "leaves no statistic")
@modes
@quiet
def test_evaluation_leaves_nothing_behind(mode: dict) -> None:
    def run(evaluate: bool) -> list[Tensor]:
        model = MLP.model()
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, **mode)
        x = 100 * torch.randn(7, 6)

        def passes() -> None:
            if evaluate:
                with torch.no_grad():
                    model(x)
                with torch.inference_mode():
                    model.eval()(x)
                model.train()(x)

        passes()
        for batch in MLP.batches():
            optimizer.zero_grad()
            passes()
            cross_entropy(model(batch[0]), batch[1]).backward()
            passes()
            optimizer.step()
            passes()
        return [*weights(model), moments(optimizer, model[2])]

    assert same(run(True), run(False))


def test_tensors_do_not_outlive_the_graph(model: nn.Module, batches: list[Batch]) -> None:
    """A forward pass without backward keeps no activation."""
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches)
    released = []

    class Input(nn.Module):
        def forward(self, input: Tensor) -> Tensor:
            hidden = model[:2](input)
            released.append(StorageWeakRef(hidden.untyped_storage()))
            return model[2](hidden)

    loss = Input()(batches[0][0]).sum()
    assert not released[0].expired()
    loss.backward()
    Input()(batches[0][0])
    del loss
    assert all(reference.expired() for reference in released)


@modes
@quiet
def test_a_skipped_step_leaves_no_statistic(mode: dict) -> None:
    """As with GradScaler: backward, no step, zero_grad."""

    def run(skip: bool) -> tuple[list[Tensor], Tensor]:
        model = MLP.model()
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, **mode)
        for number, (x, y) in enumerate(MLP.batches()):
            optimizer.zero_grad()
            if skip and number in (0, 2):
                cross_entropy(model(x * 50), y).backward()
                optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
        return weights(model), moments(optimizer, model[2])

    (with_skips, skipped), (without, straight) = run(True), run(False)
    if mode.get("method") != "algorithm3":
        assert same(with_skips, without)
        assert torch.equal(skipped, straight)
    else:
        # Another use of the layer draws other masks, from the same probabilities in step 1.
        assert skipped.shape == straight.shape and skipped[4].isfinite().all()
        torch.testing.assert_close(skipped[4], straight[4], rtol=0.2, atol=0)


@pytest.mark.row(
    "Training loop",
    "`GradScaler` with clipping; skipped steps",
    "a skipped step leaves statistics untouched",
)
@modes
@quiet
def test_grad_scaler_skips_and_unscales(mode: dict) -> None:
    def run(scaled: bool) -> tuple[list[Tensor], InterpretableSGD]:
        model = MLP.model()
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, momentum=0.9, **mode)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=scaled)
        for number, (x, y) in enumerate(MLP.batches()):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            if number == 1:
                if not scaled:
                    continue
                loss = loss * torch.inf
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
        return weights(model), optimizer

    (scaled, optimizer), (plain, reference) = run(True), run(False)
    head, other = (o.param_groups[0]["params"][2] for o in (optimizer, reference))
    assert optimizer.state[head]["steps"] == reference.state[other]["steps"] == 3
    assert all(w.isfinite().all() for w in scaled)
    if mode.get("method") != "algorithm3":
        for left, right in zip(scaled, plain, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("copied", [False, True])
def test_grad_scaler_unscales_before_a_fused_step(copied: bool) -> None:
    """torch's fused SGD divides by the scale itself; masks come between, so ours must not be asked to."""

    def run(scaled: bool) -> list[Tensor]:
        model = MLP.model()
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, fused=True, **METHODS["route"])
        if copied:
            model, optimizer = copy.deepcopy((model, optimizer))
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=scaled)
        for x, y in MLP.batches():
            optimizer.zero_grad()
            scaler.scale(cross_entropy(model(x), y)).backward()
            scaler.step(optimizer)
            scaler.update()
        return weights(model)

    for left, right in zip(run(True), run(False), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


@pytest.mark.row("Training loop", "autocast to bfloat16", "statistics stay float32")
@modes
@quiet
@pytest.mark.parametrize("name", ["mlp", "convolutions"])
def test_autocast(name: str, mode: dict) -> None:
    case = CASES[name]
    results = []
    for enabled in (True, False):
        model = case.model()
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers="all", **mode)
        for x, y in case.batches():
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                loss = cross_entropy(model(x), y)
            loss.backward()
            assert all(p.grad.dtype == p.dtype for p in model.parameters())
            optimizer.step()
        owned = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        read = [moments(optimizer, layer) for layer in owned]
        assert all(m.dtype == torch.float32 and m.isfinite().all() for m in read)
        results.append([m[0].flatten() for m in read])
    for low, full in zip(*results, strict=True):
        assert torch.corrcoef(torch.stack([low, full]))[0, 1] > 0.95


@pytest.mark.row("Layers and models", "channels_last", "weights and gradients keep their layout")
@modes
@quiet
def test_channels_last(mode: dict) -> None:
    case = CASES["convolutions"]
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = case.model().to(memory_format=layout)
        optimizer = InterpretableSGD(
            model.parameters(), lr=0.1, layers="all", momentum=0.9, sparsity=0.0, **mode
        )
        data = [(x.to(memory_format=layout), y) for x, y in case.batches()]
        train(model, optimizer, data[:2])
        assert model[0].weight.is_contiguous(memory_format=layout)
        if mode.get("method") != "algorithm3":
            assert model[0].weight.grad.is_contiguous(memory_format=layout)
        results.append([*weights(model), moments(optimizer, model[0])])
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.row(
    "Training loop",
    "NaN or infinity in activations or gradients",
    "the running means are not poisoned",
)
@pytest.mark.parametrize("mode", [m for n, m in MODES.items() if n not in ("form", "settle")])
@quiet
@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
@pytest.mark.parametrize("where", ["input", "gradient"])
def test_what_is_not_finite_reaches_no_statistic(where: str, poison: float, mode: dict) -> None:
    model, (first, (x, y), *_) = MLP.model(), MLP.batches()
    optimizer = InterpretableSGD(model.parameters(), lr=0.0, **mode)
    train(model, optimizer, [first] * 2)
    before = moments(optimizer, model[2])[-2:].clone()
    optimizer.zero_grad()
    if where == "input":
        x[0, 0] = poison
        cross_entropy(model(x), y).backward()
    else:
        (cross_entropy(model(x), y) * poison).backward()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    # Those of activations; the gradient is the caller's.
    assert torch.equal(moments(optimizer, model[2])[-2:], before)
    train(model, optimizer, MLP.batches(1, seed=8))
    after = moments(optimizer, model[2])[-2:]
    assert after.isfinite().all() and not torch.equal(after, before)


def test_frozen_layers_are_left_alone(batches: list[Batch]) -> None:
    model = MLP.model()
    model[0].requires_grad_(False)
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers="all")
    before = weights(model)
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["2"]
    assert (
        same(before[:2], weights(model)[:2]) and "moments" not in optimizer.state[model[0].weight]
    )


@pytest.mark.row(
    "Layers and models", "layers that freeze and thaw", "left alone, then routed again"
)
def test_layers_may_freeze_and_thaw(batches: list[Batch]) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers="all", **METHODS["route"])
    train(model, optimizer, batches)
    model[2].requires_grad_(False)
    frozen = weights(model)[2], moments(optimizer, model[2]).clone()
    train(model, optimizer, batches)
    assert same([model[2].weight, moments(optimizer, model[2])], frozen)
    model[2].requires_grad_(True)
    train(model, optimizer, batches)
    assert not torch.equal(moments(optimizer, model[2]), frozen[1])


def test_a_frozen_bias_or_input_changes_nothing(batches: list[Batch]) -> None:
    results = []
    for frozen in (True, False):
        model = MLP.model()
        model[0].requires_grad_(False)
        model[2].bias.requires_grad_(not frozen)
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, **METHODS["route"])
        train(model, optimizer, batches[:1])
        results.append(moments(optimizer, model[2]))
    assert torch.equal(*results)


def test_parametrized_weights_stay_plain(batches: list[Batch]) -> None:
    def build() -> nn.Module:
        model = MLP.model()
        nn.utils.parametrizations.weight_norm(model[2])
        return model

    ours, theirs = build(), build()
    optimizer = InterpretableSGD(ours[2].parameters(), lr=0.1, layers="all", block_size=1)
    train(ours, optimizer, batches)
    train(theirs, torch.optim.SGD(theirs[2].parameters(), lr=0.1), batches)
    assert same(ours.parameters(), theirs.parameters())
    assert optimizer.routed_units() == {}


def test_layers_parametrized_later_survive_the_optimizer(batches: list[Batch]) -> None:
    model = MLP.model()
    optimizer = attached(model, lr=0.1)
    nn.utils.parametrizations.weight_norm(model[2])
    x, _ = batches[0]
    expected = model(x)
    optimizer.detach()
    assert torch.equal(model(x), expected)
    nn.utils.parametrize.remove_parametrizations(model[2], "weight")
    torch.testing.assert_close(model(x), expected)


def test_subclasses_with_a_forward_of_their_own_stay_plain(batches: list[Batch]) -> None:
    class Doubled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return nn.functional.linear(input, 2 * self.weight, self.bias)

    class Renamed(nn.Linear):
        pass

    model = nn.Sequential(Doubled(6, 20), nn.ReLU(), Renamed(20, CLASSES))
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers="all")
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["2"]
    optimizer.detach()
    assert [type(layer) for layer in model] == [Doubled, nn.ReLU, Renamed]


def test_hooks_of_the_user_fire_once(model: nn.Module, batches: list[Batch]) -> None:
    calls = []
    model[2].register_forward_hook(lambda *_: calls.append("forward"))
    model[2].register_full_backward_hook(lambda *_: calls.append("backward"))
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches)
    assert calls == ["forward", "backward"] * len(batches)


@pytest.mark.row("State", "deepcopy, pickle, `torch.save` of the model", "copies are plain")
def test_copies_and_pickles_of_a_tapped_model_are_plain(
    model: nn.Module, batches: list[Batch]
) -> None:
    keys = list(model.state_dict())
    text = repr(model)
    optimizer = attached(model, lr=0.1)
    train(model, optimizer, batches)
    assert list(model.state_dict()) == keys and repr(model) == text
    saved = io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)
    copies = [
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(saved, weights_only=False),
        torch.optim.swa_utils.AveragedModel(model).module,
    ]
    for twin in copies:
        assert [type(m) for m in twin] == [nn.Linear, nn.ReLU, nn.Linear]
        assert not any(isinstance(vars(m).get(PROBE), WeightProbe) for m in twin.modules())
        assert same(twin.parameters(), model.parameters())
        assert torch.equal(twin(batches[0][0]), model(batches[0][0]))


def ready_to_step(model: nn.Module, mode: dict) -> InterpretableSGD:
    optimizer = attached(model, lr=0.0, **mode)
    x, y = MLP.batches()[0]
    cross_entropy(model(x), y).backward()
    return optimizer


def after_a_step(mode: dict) -> Tensor:
    """The statistic where nothing has come in between."""
    model = MLP.model()
    optimizer = ready_to_step(model, mode)
    optimizer.step()
    return moments(optimizer, model[2])


@pytest.mark.row(
    "Compilers and transforms",
    "`vmap(grad(...))` and `jvp` between steps, as for diagnosis",
    "see plain layers, leave no statistic",
)
@modes
@quiet
def test_functional_transforms_see_plain_layers(mode: dict) -> None:
    ours, theirs, (x, y) = MLP.model(), MLP.model(), MLP.batches()[0]
    optimizer, expected = ready_to_step(ours, mode), after_a_step(mode)

    def per_sample(model: nn.Module) -> dict[str, Tensor]:
        parameters = {name: p.detach() for name, p in model.named_parameters()}

        def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return cross_entropy(functional_call(model, parameters, (x[None],)), y[None])

        return vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)

    left, right = per_sample(ours), per_sample(theirs)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    tangent = torch.ones_like(x)
    assert torch.equal(
        torch.func.jvp(ours, (x,), (tangent,))[1], torch.func.jvp(theirs, (x,), (tangent,))[1]
    )
    optimizer.step()
    assert torch.equal(moments(optimizer, ours[2]), expected), "they are no training steps"


@modes
@quiet
def test_functional_calls_with_other_weights_are_plain(mode: dict) -> None:
    """As in meta-learning: the weight that runs is not the optimizer's."""
    ours, theirs, (x, y) = MLP.model(), MLP.model(), MLP.batches()[0]
    optimizer, expected = ready_to_step(ours, mode), after_a_step(mode)

    def gradients(model: nn.Module) -> list[Tensor]:
        others = {n: (2 * p.detach()).requires_grad_() for n, p in model.named_parameters()}
        cross_entropy(functional_call(model, others, (x,)), y).backward()
        return [other.grad for other in others.values()]

    assert same(gradients(ours), gradients(theirs))
    optimizer.step()
    assert torch.equal(moments(optimizer, ours[2]), expected)


def test_functional_calls_may_train_what_is_not_routed(batches: list[Batch]) -> None:
    ours, theirs = MLP.model(), MLP.model()
    for model, optimizer in (
        (ours, InterpretableSGD(ours.parameters(), lr=0.1, layers="none")),
        (theirs, torch.optim.SGD(theirs.parameters(), lr=0.1)),
    ):
        for x, y in batches:
            optimizer.zero_grad()
            others = {n: p.clone() for n, p in model.named_parameters()}
            cross_entropy(functional_call(model, others, (x,)), y).backward()
            optimizer.step()
    assert same(weights(ours), weights(theirs))


@pytest.mark.row("Compilers and transforms", "forward-mode derivatives", "see plain layers")
def test_forward_mode_derivatives(model: nn.Module, batches: list[Batch]) -> None:
    x, tangent = batches[0][0], torch.ones_like(batches[0][0])
    expected = torch.func.jvp(model, (x,), (tangent,))[1]
    optimizer = InterpretableSGD(model.parameters(), lr=0.0)
    train(model, optimizer, batches)
    with forward_ad.dual_level():
        dual = model(forward_ad.make_dual(x, tangent))
        assert torch.equal(forward_ad.unpack_dual(dual).tangent, expected)


@pytest.mark.row("Compilers and transforms", "`torch.jit.trace`", "traced as a plain model")
def test_traced_models_are_plain(model: nn.Module, batches: list[Batch]) -> None:
    """As torch.jit.trace, and with it TensorBoard's add_graph, needs them."""
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches)
    x, _ = batches[0]
    traced = torch.jit.trace(model, x)
    torch.jit.save(traced, io.BytesIO())
    assert torch.equal(traced(x), model(x))


@pytest.mark.row("Compilers and transforms", "`torch.export`", "exported as a plain model")
def test_exported_models_compute_the_same(model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches)
    x, _ = batches[0]
    with torch.no_grad():
        program = torch.export.export(model.eval(), (x,))
    assert torch.equal(program.module()(x), model(x))


@pytest.mark.row("Compilers and transforms", "double backward", "the plain second derivatives")
def test_second_derivatives_are_the_plain_ones(batches: list[Batch]) -> None:
    """A penalty on the input gradient, with in-place steps in between left out."""

    def penalised(model: nn.Module) -> Tensor:
        x = batches[0][0].clone().requires_grad_()
        loss = cross_entropy(model(x), batches[0][1])
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        return loss + slope.square().sum()

    ours, theirs = MLP.model(), MLP.model()
    optimizer = attached(ours, lr=0.1)
    train(ours, optimizer, [])
    penalised(ours).backward()
    penalised(theirs).backward()
    assert same((p.grad for p in ours.parameters()), (p.grad for p in theirs.parameters()))
    optimizer.step()
    assert moments(optimizer, ours[2]).isfinite().all()


@modes
@quiet
@pytest.mark.parametrize("x", [torch.empty(0, 6), torch.ones(6)], ids=["empty", "unbatched"])
def test_odd_inputs(x: Tensor, mode: dict) -> None:
    ours, theirs = MLP.model(), MLP.model()
    optimizer = attached(ours, lr=0.1, **mode)
    assert torch.equal(ours(x), theirs(x))
    ours(x).square().sum().backward()
    optimizer.step()
    assert all(parameter.isfinite().all() for parameter in ours.parameters())
    assert moments(optimizer, ours[2]).isfinite().all()


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.elements = max(self.elements, leaf.numel())
        return result


MEMORY = {
    "gate": {"layers": "all"},
    "gate, signed input": {"layers": "all", "signed": True},
    "routed": {"layers": "all"} | METHODS["route"],
    "routed, signed input": {"layers": "all", "signed": True} | METHODS["route"],
    "braked": METHODS["brake"],
    "settled": METHODS["settle"],
}


@quiet
@pytest.mark.parametrize("options", MEMORY.values(), ids=list(MEMORY))
def test_no_tensor_has_samples_outputs_and_inputs(options: dict) -> None:
    samples, outputs, inputs = 512, 48, 96
    options = dict(options)
    x = (
        torch.randn(samples, inputs)
        if options.pop("signed", False)
        else torch.rand(samples, inputs)
    )
    layer = nn.Linear(inputs, outputs)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1, **(METHODS["shared"] | options))
    mode = Largest()
    for _ in range(3):
        optimizer.zero_grad()
        with mode:
            cross_entropy(layer(x), torch.zeros(samples, dtype=torch.long)).backward()
            optimizer.step()
    statistics = 3
    limit = max(samples * inputs, samples * outputs, statistics * outputs * inputs)
    assert samples * outputs <= mode.elements <= limit
    assert optimizer.routed_units()


def compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    torch._dynamo.reset()
    return torch.compile(model, backend="aot_eager")


ORDERS = ("attach, compile, run", "compile, run", "compile, run plain, run", "model.compile()")


@pytest.mark.row(
    "Compilers and transforms",
    "`torch.compile` of the model, before and after the optimizer is made",
    "weights of eager; `attach(model)` first avoids a recompilation",
)
@modes
@quiet
@pytest.mark.filterwarnings("ignore:.*global:UserWarning")
@pytest.mark.parametrize("order", ORDERS)
def test_compiled_models_are_routed(order: str, mode: dict) -> None:
    results = []
    for compile in (False, True):
        model = MLP.model()
        run: Callable[[Tensor], Tensor] = model
        if compile and order == "compile, run plain, run":
            run = compiled(model)
            run(MLP.batches()[0][0]).sum().backward()
            model.zero_grad()
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, **mode)
        if order.startswith("attach"):
            optimizer.attach(model)
        if compile and order == "model.compile()":
            torch._dynamo.reset()
            model.compile(backend="aot_eager")
        elif compile and run is model:
            run = compiled(model)
        train(run, optimizer, MLP.batches())
        assert list(optimizer.routed_units()) == ["2"]
        results.append([*weights(model), moments(optimizer, model[2])])
        optimizer.detach()
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
    assert results[0][-1].any()


@pytest.mark.parametrize("steps", [1, 2])
def test_backward_may_run_twice(steps: int, batches: list[Batch]) -> None:
    """Like `.grad`, the statistic of a retained graph adds up; its scale does not matter."""
    model, once = MLP.model(), MLP.model()
    x, y = batches[0]

    def twice(model: nn.Module) -> Tensor:
        loss = cross_entropy(model(x), y)
        for _ in itertools.repeat(None, steps - 1):
            loss.backward(retain_graph=True)
        return loss

    expected = observed(once, lambda m: cross_entropy(m(x), y), once[2])
    close(observed(model, twice, model[2]), expected)


@modes
@quiet
def test_derivatives_by_one_tensor_are_those_of_backward(mode: dict) -> None:
    """Autograd asks for some gradients only, and never for the statistic."""
    x, y = MLP.batches()[0]
    x.requires_grad_()

    def differentiated(*which: int) -> list[Tensor]:
        model = MLP.model()
        optimizer = attached(model, lr=0.1, **mode)
        loss = cross_entropy(model(x), y)
        asked = [(x, model[2].weight)[number] for number in which]
        gradients = list(torch.autograd.grad(loss, asked))
        assert not optimizer.routed_units()
        return gradients

    assert same([*differentiated(0), *differentiated(1)], differentiated(0, 1))

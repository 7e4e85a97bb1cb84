"""From parameters alone to the layers that own them, in whatever runs forward."""

import gc
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer.probes import PROBE
from tests.conftest import global_hooks
from tests.models import CASES, CLASSES, METHODS, MLP, Batch, Case, Spare, same, train, weights


def hooked(module: nn.Module) -> bool:
    """Whether the library has left anything on a module."""
    return bool(module._forward_hooks) or PROBE in vars(module)


class HeadFirst(nn.Module):
    """The classifier is registered first and runs last."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(20, CLASSES)
        self.body = nn.Linear(6, 20)

    def forward(self, input: Tensor) -> Tensor:
        return self.head(self.body(input).relu())


class Checkpointed(nn.Module):
    """Blocks that run again in backward, after the head."""

    def __init__(self, whole: bool, reentrant: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 20)])
        self.head = nn.Linear(20, CLASSES)
        self.whole, self.reentrant = whole, reentrant

    def forward(self, input: Tensor) -> Tensor:
        # Reentrant checkpoints need an input that requires a gradient.
        input = input.clone().requires_grad_()
        for block in self.blocks:
            input = checkpoint(
                lambda x, block=block: block(x).relu(), input, use_reentrant=self.reentrant
            )
        if self.whole:
            return checkpoint(self.head, input, use_reentrant=self.reentrant)
        return self.head(input)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, input: Tensor) -> Tensor:
        sequence = input[:, None] * torch.ones(3, 1)
        return self.head(self.attention(sequence, sequence, sequence)[0].mean(1))


def test_the_head_of_every_model_is_routed(case: Case) -> None:
    model = case.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, case.batches(2))
    assert list(optimizer.routed_units()) == [case.head]


def test_the_head_is_the_last_linear_layer_that_runs() -> None:
    model = HeadFirst()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, MLP.batches(2))
    assert list(optimizer.routed_units()) == ["head"]


@pytest.mark.parametrize("whole", [False, True], ids=["blocks", "all"])
@pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
def test_the_head_is_found_when_blocks_run_again_in_backward(reentrant: bool, whole: bool) -> None:
    model = Checkpointed(whole, reentrant)
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, MLP.batches(2))
    assert list(optimizer.routed_units()) == ["head"]


def test_the_head_is_known_after_the_first_step_from_parameters_alone(case: Case) -> None:
    model = case.model()
    head = model if case.head == "Linear" else model.get_submodule(case.head)
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, block_size=2, momentum=0.9)
    assert global_hooks() > 0
    before = head.weight.detach().clone()
    train(model, optimizer, case.batches(1))
    assert global_hooks() == 0
    # A head that has no rival is observed at once; any other stands still in its first, dense step.
    alone = case.head == "Linear"
    assert torch.equal(head.weight, before) != alone
    assert bool(optimizer.state[head.weight]["moments"].any()) == alone
    train(model, optimizer, case.batches(1))
    assert optimizer.state[head.weight]["moments"].flatten(1).any(1).all()
    assert not torch.equal(head.weight, before)


def test_a_layer_called_by_keyword_is_reported_and_plain() -> None:
    """Its hooks see no input."""
    layer = nn.Linear(16, CLASSES)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1)
    x, y = CASES["bare linear"].batches()[0]
    cross_entropy(layer(input=x), y).backward()
    with pytest.warns(UserWarning, match="found nothing to route"):
        optimizer.step()
    assert optimizer.routed_units() == {}


def test_a_bare_layer_computes_what_it_did() -> None:
    layer = nn.Linear(16, CLASSES)
    calls = []
    layer.register_forward_hook(lambda module, args, output: calls.append(output.detach()))
    x, _ = CASES["bare linear"].batches()[0]
    expected = nn.functional.linear(x, layer.weight, layer.bias)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.1)
    outputs = [layer(x), layer(x)]
    assert torch.equal(outputs[0], expected) and torch.equal(outputs[1], expected)
    assert len(calls) == 2
    optimizer.detach()


def test_layers_called_one_by_one_are_found() -> None:
    body, head = nn.Linear(6, 20), nn.Linear(20, CLASSES)
    parameters = [*head.parameters(), *body.parameters()]
    optimizer = InterpretableSGD(parameters, lr=0.1, block_size=2)
    x, y = MLP.batches()[0]
    cross_entropy(head(body(x).relu()), y).backward()
    optimizer.step()
    assert "moments" in optimizer.state[head.weight]
    assert "moments" not in optimizer.state[body.weight]


def test_every_routed_layer_is_read_back_when_names_coincide() -> None:
    encoder, decoder = nn.Sequential(nn.Linear(6, 20)), nn.Sequential(nn.Linear(20, CLASSES))
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = InterpretableSGD(parameters, lr=0.1, layers="all")
    train(lambda x: decoder(encoder(x).relu()), optimizer, MLP.batches(2))
    shapes = {name: units.support.shape for name, units in optimizer.routed_units().items()}
    assert shapes == {"0": (20, 6), "0#2": (CLASSES, 20)}


def test_evaluation_before_training_decides_nothing() -> None:
    auxiliary, model = nn.Linear(6, 6), MLP.model()
    parameters = [*model.parameters(), *auxiliary.parameters()]
    optimizer = InterpretableSGD(parameters, lr=0.1)
    x, _ = MLP.batches()[0]
    with torch.no_grad():
        auxiliary(model[1](x))
    with torch.inference_mode():
        auxiliary(x)
    assert not any(optimizer.state.values())
    train(model, optimizer, MLP.batches(1))
    assert list(optimizer.routed_units()) == ["2"]


def test_attaching_a_model_leaves_nothing_to_find(model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    optimizer.attach(model)
    assert all(hooked(model[i]) for i in (0, 2)) and type(model[2]) is nn.Linear
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["2"]
    assert not hooked(model[0]), "what is not routed is plain again"
    assert global_hooks() == 0


def test_attaching_twice_is_attaching_once(model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.attach(model)
    assert len(model[2]._forward_hooks) == 1
    optimizer.detach()
    assert not hooked(model[2])


def test_attach_may_come_later(model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers=["0"])
    optimizer.attach(model)
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["0"]


def test_attaching_a_model_without_the_named_layers_is_an_error(model: nn.Module) -> None:
    match = (
        r"^layers=\['fc'\] matches no Linear or convolution layer of the model with a weight in "
        "this param group$"
    )
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers="fc")
    with pytest.raises(ValueError, match=match):
        optimizer.attach(model)
    optimizer.detach()


def test_a_routed_parameter_whose_layer_never_ran_is_an_error() -> None:
    """Its weight is used functionally: no activation is ever seen."""

    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(6, 20), nn.Linear(20, CLASSES)
            self.spare = nn.Linear(20, CLASSES)

        def forward(self, input: Tensor) -> Tensor:
            hidden = self.body(input).relu()
            weight = self.head.weight + self.spare.weight
            return nn.functional.linear(hidden, weight, self.head.bias)

    model = Functional()
    # The pattern is no keyword: it names the layers "head" and "spare".
    layers = ["head*", "spare"]
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, momentum=0.9, layers=layers)
    optimizer.attach(model)
    before = weights(model)
    message = (
        r"^layers=\['head\*', 'spare'\] routes parameters whose layers have not run forward since the "
        r"optimizer was made: head, spare; nothing was updated. Call attach\(model\), or leave them out of layers$"
    )
    x, y = MLP.batches()[0]
    cross_entropy(model(x), y).backward()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=message):
            optimizer.step()
    assert same(model.parameters(), before), "nothing is updated"
    assert not any("momentum_buffer" in state for state in optimizer.state.values())
    optimizer.detach()


def test_a_named_layer_that_learns_nothing_may_stand_still(batches: list[Batch]) -> None:
    model = Spare()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers=["net.2", "spare"])
    optimizer.attach(model)
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["net.2"]


def test_names_that_match_nothing_are_an_error_in_the_first_step(
    model: nn.Module, batches: list[Batch]
) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers=["fc", "layer4.*"])
    before = weights(model)
    match = (
        r"layers=\['fc', 'layer4.\*'\] routes .* since the optimizer was made; nothing was updated"
    )
    with pytest.raises(RuntimeError, match=match):
        train(model, optimizer, batches)
    assert same(model.parameters(), before)
    optimizer.detach()


def test_parameters_without_a_layer_are_sgd_with_one_warning() -> None:
    ours, theirs = (nn.Parameter(torch.ones(3)) for _ in range(2))
    routed = InterpretableSGD([ours], lr=0.1, momentum=0.9)
    dense = torch.optim.SGD([theirs], lr=0.1, momentum=0.9)
    with pytest.warns(UserWarning, match="found nothing to route: no Linear or convol") as record:
        for _ in range(3):
            for parameter, optimizer in ((ours, routed), (theirs, dense)):
                optimizer.zero_grad()
                parameter.square().sum().backward()
                optimizer.step()
    assert len(record) == 1
    assert torch.equal(ours, theirs)


class Scaled(nn.Linear):
    """A head with a forward of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, 2 * self.weight, self.bias)


UNROUTABLE = {
    "own forward": lambda: Scaled(20, CLASSES),
    "parametrized": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(20, CLASSES)),
    "frozen": lambda: nn.Linear(20, CLASSES).requires_grad_(False),
}


@pytest.mark.parametrize("head", UNROUTABLE.values(), ids=list(UNROUTABLE))
def test_a_head_that_cannot_be_routed_is_not_replaced_by_the_layer_before(
    head: Callable[[], nn.Module],
) -> None:
    results = []
    for kind in (InterpretableSGD, torch.optim.SGD):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), head())
        optimizer = kind(model.parameters(), lr=0.1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*found nothing to route")
            train(model, optimizer, MLP.batches())
        results.append(weights(model))
        if kind is InterpretableSGD:
            assert optimizer.routed_units() == {}
            assert global_hooks() == 0, "the search is over"
            optimizer.detach()
    assert same(*results)


def test_steps_without_gradients_warn_of_nothing(
    model: nn.Module, recwarn: pytest.WarningsRecorder
) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    before = weights(model)
    optimizer.step()
    assert same(model.parameters(), before) and not recwarn.list


@pytest.mark.row(
    "Layers and models",
    "weights used functionally, as the projections of `MultiheadAttention`",
    "a warning names them",
    answer="plain",
)
def test_attention_weights_used_functionally_are_reported_and_plain() -> None:
    ours, theirs = Attention(), Attention()
    theirs.load_state_dict(ours.state_dict())
    optimizer = InterpretableSGD(ours.parameters(), lr=0.1, layers="all", block_size=1)
    dense = torch.optim.SGD(theirs.parameters(), lr=0.1)
    first, *rest = MLP.batches()
    match = r"used without their layer's forward, so trained plainly: attention.out_proj"
    with pytest.warns(UserWarning, match=match) as record:
        train(ours, optimizer, [first])
        train(theirs, dense, [first])
        assert torch.equal(ours.attention.out_proj.weight, theirs.attention.out_proj.weight)
        train(ours, optimizer, rest)
    assert len(record) == 1
    assert list(optimizer.routed_units()) == ["head"]


@pytest.mark.row(
    "Construction",
    "`add_param_group` in the midst of training",
    "its layers are found in their next forward pass",
)
def test_a_new_head_is_found_when_its_group_is_added(
    model: nn.Module, batches: list[Batch]
) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, block_size=2)
    train(model, optimizer, batches)
    model[2] = nn.Linear(20, CLASSES)
    optimizer.add_param_group({"params": model[2].parameters(), "block_size": 4})
    assert global_hooks() > 0
    before = model[2].weight.detach().clone()
    optimizer.zero_grad()
    train(model, optimizer, batches[:1])
    assert "moments" in optimizer.state[model[2].weight]
    assert global_hooks() == 0
    train(model, optimizer, batches[:2])
    assert not torch.equal(model[2].weight, before)
    assert [units.block_size for units in optimizer.routed_units().values()] == [2, 4]


def test_unfreezing_the_body_later_routes_nothing_more() -> None:
    """The head is known: a group of convolutions that joins later has no head of its own."""
    case = CASES["convolutions"]
    model = case.model()
    optimizer = InterpretableSGD(model[5].parameters(), lr=0.1)
    train(model, optimizer, case.batches(2))
    optimizer.add_param_group({"params": [*model[0].parameters(), *model[2].parameters()]})
    train(model, optimizer, case.batches(2))
    assert list(optimizer.routed_units()) == ["5"]
    assert global_hooks() == 0


def test_a_group_of_norms_that_joins_later_warns_of_nothing(
    recwarn: pytest.WarningsRecorder,
) -> None:
    model = nn.Sequential(nn.Linear(6, 20), nn.LayerNorm(20), nn.Linear(20, CLASSES))
    optimizer = InterpretableSGD([*model[0].parameters(), *model[2].parameters()], lr=0.1)
    train(model, optimizer, MLP.batches(2))
    optimizer.add_param_group({"params": model[1].parameters()})
    train(model, optimizer, MLP.batches(2))
    assert not recwarn.list
    assert list(optimizer.routed_units()) == ["2"]


def test_layers_that_are_known_not_to_be_routed_are_not_tapped_again(
    model: nn.Module, batches: list[Batch]
) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(3))]})
    model(batches[0][0])
    assert hooked(model[2])
    optimizer.detach()
    assert not hooked(model[0]) and not hooked(model[2])


@pytest.mark.parametrize("layers", ["head", "all"])
def test_a_group_that_does_not_learn_routes_nothing(layers: str, batches: list[Batch]) -> None:
    model = MLP.model()
    model[0].requires_grad_(False)
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters()}]
    optimizer = InterpretableSGD(groups, lr=0.1, layers=layers)
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["2"]
    assert global_hooks() == 0


def test_a_named_layer_of_a_group_that_does_not_learn_yet_is_waited_for(
    batches: list[Batch],
) -> None:
    model = MLP.model()
    model[0].requires_grad_(False)
    groups = [{"params": model[0].parameters(), "layers": ["0"]}, {"params": model[2].parameters()}]
    optimizer = InterpretableSGD(groups, lr=0.1)
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["2"] and global_hooks() > 0
    model[0].requires_grad_(True)
    train(model, optimizer, batches)
    assert set(optimizer.routed_units()) == {"0", "2"} and global_hooks() == 0


@pytest.mark.row("State", "an optimizer that goes", "its layers are plain again, no hook is left")
def test_a_dead_optimizer_leaves_a_plain_model(case: Case) -> None:
    model = case.model()
    plain = [type(module) for module in model.modules()]
    keys = [set(vars(module)) for module in model.modules()]
    for options in ({}, {"layers": "all"}, METHODS["settle"]):
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, **options)
        train(model, optimizer, case.batches(2))
        assert [type(module) for module in model.modules()] == plain
        del optimizer
        gc.collect()
        assert not any(hooked(module) for module in model.modules())
        assert not any(parameter._backward_hooks for parameter in model.parameters())
        assert [set(vars(module)) for module in model.modules()] == keys
        assert global_hooks() == 0


@pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")
@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_an_optimizer_that_dies_before_its_first_step_leaves_a_plain_model(
    method: dict, model: nn.Module, batches: list[Batch]
) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **method)
    output = model(batches[0][0])
    del optimizer
    gc.collect()
    assert not hooked(model[0]) and not hooked(model[2]) and global_hooks() == 0
    cross_entropy(output, batches[0][1]).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")
@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_detach_leaves_torch_sgd(method: dict, batches: list[Batch]) -> None:
    ours, theirs = MLP.model(), MLP.model()
    optimizer = InterpretableSGD(ours.parameters(), lr=0.1, **method)
    optimizer.detach()
    assert global_hooks() == 0
    train(ours, optimizer, batches)
    train(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1), batches)
    assert same(ours.parameters(), theirs.parameters())
    assert not hooked(ours[2]) and optimizer.routed_units() == {}


def test_detach_in_the_midst_of_training(model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, block_size=1)
    train(model, optimizer, batches)
    optimizer.detach()
    before = model[2].weight.detach().clone()
    train(model, optimizer, batches[:1])
    expected = before - 0.1 * model[2].weight.grad
    torch.testing.assert_close(model[2].weight.detach(), expected)
    assert not hooked(model[2])


def test_two_optimizers_on_one_layer_are_an_error(model: nn.Module, batches: list[Batch]) -> None:
    first = InterpretableSGD(model.parameters(), lr=0.1)
    first.attach(model)
    match = r"Linear.* already belongs to another interpretable optimizer: call that one's detach"
    second = InterpretableSGD(model.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match=match):
        model(batches[0][0])
    first.detach()
    train(model, second, batches)
    assert list(second.routed_units()) == ["2"]


def test_optimizers_of_different_layers_share_a_model(batches: list[Batch]) -> None:
    model = MLP.model()
    body = InterpretableSGD(model[0].parameters(), lr=0.1, layers="all")
    head = InterpretableSGD(model[2].parameters(), lr=0.1)
    for batch in batches:
        body.zero_grad()
        train(model, head, [batch])
        body.step()
    assert list(body.routed_units()) == ["0"] and list(head.routed_units()) == ["2"]


def test_a_layer_below_the_head_of_another_optimizer_is_plain(batches: list[Batch]) -> None:
    ours, theirs = MLP.model(), MLP.model()
    body = InterpretableSGD(ours[0].parameters(), lr=0.1, block_size=2)
    dense = torch.optim.SGD(theirs[0].parameters(), lr=0.1)
    with pytest.warns(UserWarning, match=r"the last layer with weights that ran is '2' \(Linear\)"):
        train(ours, body, batches)
    train(theirs, dense, batches)
    assert same(ours.parameters(), theirs.parameters())


def test_new_optimizers_with_schedulers_may_follow_each_other(
    model: nn.Module, batches: list[Batch]
) -> None:
    """As when a notebook cell runs again; nothing may wait for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            optimizer = InterpretableSGD(model.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
            train(model, optimizer, batches, scheduler.step)
    finally:
        gc.enable()
    assert list(optimizer.routed_units()) == ["2"]
    assert model[2](torch.ones(20)).shape == (CLASSES,)


@pytest.mark.parametrize(("name", "head"), [("resnet18", "fc"), ("squeezenet1_0", "classifier.1")])
def test_torchvision_models(name: str, head: str) -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    model = models.get_model(name, num_classes=7)
    optimizer = InterpretableSGD(
        model.parameters(), lr=1e-3, block_size=2, weight_decay=5e-4, brake=0, form=1, settle=2
    )
    owner = model.get_submodule(head)
    before = owner.weight.detach().clone()
    batch = torch.randn(3, 3, 64, 64), torch.tensor([1, 5, 2])
    train(model, optimizer, [batch] * 2)
    ((routed, units),) = optimizer.routed_units().items()
    assert routed == head
    assert units.settled and units.support.sum(1).max() <= 2
    assert (owner.weight != before).any()
    assert global_hooks() == 0


@pytest.mark.row("Layers and models", "lazy layers", "routed once they have a weight")
def test_lazy_layers_are_found_and_left_plain() -> None:
    model = nn.Sequential(nn.LazyLinear(20), nn.ReLU(), nn.LazyLinear(CLASSES))
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, MLP.batches(3))
    assert list(optimizer.routed_units()) == ["2"]
    seen = optimizer.state[model[2].weight]["moments"].clone()
    train(model, optimizer, MLP.batches(1))
    assert not torch.equal(optimizer.state[model[2].weight]["moments"], seen)
    del optimizer
    gc.collect()
    assert not hooked(model[0]) and not hooked(model[2])
    assert model(torch.ones(2, 6)).shape == (2, CLASSES)

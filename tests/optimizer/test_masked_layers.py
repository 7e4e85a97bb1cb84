"""Which layers of an optimizer are routed, from attach to detach; to everyone else they are plain."""

import copy
import gc
import io
import pickle
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer.probes import PROBE
from tests.conftest import global_hooks, hooked
from tests.models import CASES, CLASSES, METHODS, MLP, Batch, Case, Spare, same, train, weights

methods = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, input: Tensor) -> Tensor:
        sequence = input[:, None] * torch.ones(3, 1)
        return self.head(self.attention(sequence, sequence, sequence)[0].mean(1))


def test_attaching_a_model_finds_its_layers_now(model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    assert hooked(model) == []
    optimizer.attach(model)
    assert {"0", "2"} <= set(hooked(model))
    assert [type(layer) for layer in model] == [nn.Linear, nn.ReLU, nn.Linear]
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["2"]
    assert hooked(model) == ["2"], "what is not routed is plain again"
    assert global_hooks() == 0


def test_attaching_twice_is_attaching_once(model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.attach(model)
    assert len(model[2]._forward_hooks) == 1
    train(model, optimizer, batches[:1])
    assert len(model[2]._forward_hooks) == 1
    optimizer.detach()
    assert hooked(model) == []


def test_attaching_again_after_detach_routes_again(model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches)
    optimizer.detach()
    assert optimizer.routed_units() == {}
    optimizer.attach(model)
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["2"]


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
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            train(model, optimizer, MLP.batches())
        if kind is InterpretableSGD:
            (told,) = {str(warning.message) for warning in caught}
            assert "found nothing to route: the last layer with weights that ran is '2' (" in told
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
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **METHODS["shared"])
    train(model, optimizer, batches)
    model[2] = nn.Linear(20, CLASSES)
    optimizer.add_param_group({"params": model[2].parameters(), "block_size": 4})
    assert global_hooks() > 0
    optimizer.zero_grad()
    train(model, optimizer, batches[:2])
    before = model[2].weight.detach().clone()
    train(model, optimizer, batches[2:3])
    moved = model[2].weight != before
    assert "moments" in optimizer.state[model[2].weight]
    assert moved.any() and not moved.all()
    assert global_hooks() == 0


def test_unfreezing_the_body_later_routes_nothing_more() -> None:
    """The head is known: a group of convolutions that joins later has no head of its own."""
    case = CASES["convolutions"]
    model = case.model()
    optimizer = InterpretableSGD(model[5].parameters(), lr=0.1)
    train(model, optimizer, case.batches(2))
    optimizer.add_param_group({"params": [*model[0].parameters(), *model[2].parameters()]})
    train(model, optimizer, case.batches(2))
    assert list(optimizer.routed_units()) == ["5"]
    assert not any("moments" in optimizer.state.get(model[i].weight, {}) for i in (0, 2))
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


def test_a_parameter_that_joins_later_does_not_unsettle_what_is_routed(
    model: nn.Module, batches: list[Batch]
) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches)
    steps = optimizer.state[model[2].weight]["steps"]
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(3))]})
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["2"] and hooked(model) == ["2"]
    assert optimizer.state[model[2].weight]["steps"] == steps + len(batches)


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
@pytest.mark.parametrize("how", ["dies", "detaches", "settles"])
def test_an_optimizer_that_goes_leaves_a_plain_model(how: str, case: Case) -> None:
    model = case.model()
    types = [type(module) for module in model.modules()]
    keys = [set(vars(module)) for module in model.modules()]
    for attached, options in ((False, {}), (True, {}), (False, {"layers": "all"})):
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, **options)
        if attached:
            optimizer.attach(model)
        train(model, optimizer, case.batches(2))
        assert case.head in hooked(model)
        if how == "detaches":
            optimizer.detach()
        elif how == "settles":
            optimizer.settle()
            train(model, optimizer, case.batches(2))
            assert optimizer.phase == "settle"
        else:
            del optimizer
            gc.collect()
        assert hooked(model) == [] and global_hooks() == 0
        assert [type(module) for module in model.modules()] == types
        assert [set(vars(module)) for module in model.modules()] == keys
        if how == "settles":
            optimizer.detach()


@methods
def test_an_optimizer_that_dies_before_its_first_step_leaves_a_plain_model(
    method: dict, model: nn.Module, batches: list[Batch]
) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **method)
    output = model(batches[0][0])
    del optimizer
    gc.collect()
    assert hooked(model) == [] and global_hooks() == 0
    cross_entropy(output, batches[0][1]).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@methods
def test_detach_leaves_torch_sgd(method: dict, batches: list[Batch]) -> None:
    ours, theirs = MLP.model(), MLP.model()
    optimizer = InterpretableSGD(ours.parameters(), lr=0.1, **method)
    optimizer.detach()
    assert global_hooks() == 0
    train(ours, optimizer, batches)
    train(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1), batches)
    assert same(ours.parameters(), theirs.parameters())
    assert hooked(ours) == [] and optimizer.routed_units() == {}


@methods
def test_detach_in_the_midst_of_training(
    method: dict, model: nn.Module, batches: list[Batch]
) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **method)
    train(model, optimizer, batches)
    optimizer.detach()
    before = model[2].weight.detach().clone()
    train(model, optimizer, batches[:1])
    expected = before - 0.1 * model[2].weight.grad
    torch.testing.assert_close(model[2].weight.detach(), expected)
    assert hooked(model) == []


def test_two_optimizers_on_one_layer_are_an_error(model: nn.Module, batches: list[Batch]) -> None:
    first = InterpretableSGD(model.parameters(), lr=0.1)
    first.attach(model)
    match = r"Linear.* already belongs to another interpretable optimizer: call that one's detach"
    other = InterpretableSGD(model.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match=match):
        other.attach(model)
    other.detach()
    second = InterpretableSGD(model.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match=match):
        model(batches[0][0])
    first.detach()
    train(model, second, batches)
    assert list(second.routed_units()) == ["2"]


def test_optimizers_of_different_layers_share_a_model(batches: list[Batch]) -> None:
    """The head is the model's, so that an optimizer of the body alone has none, and says so."""
    model = MLP.model()
    body = InterpretableSGD(model[0].parameters(), lr=0.1)
    head = InterpretableSGD(model[2].parameters(), lr=0.1)
    match = (
        r"found nothing to route: the last layer .* is '2' \(Linear\).* belongs to this optimizer"
    )
    with pytest.warns(UserWarning, match=match) as record:
        for batch in batches:
            body.zero_grad()
            train(model, head, [batch])
            body.step()
    assert len(record) == 1
    assert body.routed_units() == {} and list(head.routed_units()) == ["2"]


def test_a_named_layer_of_one_optimizer_and_the_head_of_another(batches: list[Batch]) -> None:
    model = MLP.model()
    body = InterpretableSGD(model[0].parameters(), lr=0.1, layers=["0"])
    head = InterpretableSGD(model[2].parameters(), lr=0.1)
    for batch in batches:
        body.zero_grad()
        train(model, head, [batch])
        body.step()
    assert list(body.routed_units()) == ["0"] and list(head.routed_units()) == ["2"]


class Heads(nn.Module):
    """Two heads of one body, whose outputs are both returned."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 20)
        self.first, self.second = nn.Linear(20, CLASSES), nn.Linear(20, CLASSES)

    def forward(self, input: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(input).relu()
        return self.first(hidden), self.second(hidden)


def train_heads(model: Heads, optimizer: torch.optim.Optimizer) -> None:
    train(lambda x: sum(model(x)), optimizer, MLP.batches(3))


def test_several_heads_are_told_of_and_the_last_is_routed() -> None:
    model = Heads()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    match = "several layers return an output of the model: 'first', 'second'; routed is .* 'second'"
    with pytest.warns(UserWarning, match=match) as record:
        train_heads(model, optimizer)
    assert len(record) == 1 and list(optimizer.routed_units()) == ["second"]


def test_several_heads_may_be_named(recwarn: pytest.WarningsRecorder) -> None:
    model = Heads()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers=["first", "second"])
    train_heads(model, optimizer)
    assert not recwarn.list and list(optimizer.routed_units()) == ["first", "second"]


def test_a_last_layer_of_another_size_than_the_output_is_no_head() -> None:
    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.project = nn.Linear(6, 20), nn.Linear(20, 8)
            self.prototypes = nn.Parameter(torch.randn(CLASSES, 8))

        def forward(self, input: Tensor) -> Tensor:
            return self.project(self.body(input).relu()) @ self.prototypes.T

    model = Projected()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    match = "'project' with 8 outputs, which is the size of none of the model's outputs"
    with pytest.warns(UserWarning, match=match) as record:
        train(model, optimizer, MLP.batches(3))
    assert len(record) == 1 and optimizer.routed_units() == {}


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


def test_hooks_of_the_user_fire_once(model: nn.Module, batches: list[Batch]) -> None:
    calls = []
    model[2].register_forward_hook(lambda *_: calls.append("forward"))
    model[2].register_full_backward_hook(lambda *_: calls.append("backward"))
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches)
    assert calls == ["forward", "backward"] * len(batches)


def test_copies_and_pickles_compute_the_same(model: nn.Module, batches: list[Batch]) -> None:
    keys, text = list(model.state_dict()), repr(model)
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    optimizer.attach(model)
    train(model, optimizer, batches)
    assert list(model.state_dict()) == keys and repr(model) == text
    saved = io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)
    copies = [
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(saved, weights_only=False),
    ]
    for twin in copies:
        assert [type(m) for m in twin] == [nn.Linear, nn.ReLU, nn.Linear]
        assert not any(vars(m).get(PROBE) for m in twin.modules())
        assert same(twin.parameters(), model.parameters())
        assert torch.equal(twin(batches[0][0]), model(batches[0][0]))
    assert vars(model[2])[PROBE] is not None


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_a_hooked_model_may_be_scripted(model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches)
    scripted = torch.jit.script(model)
    assert torch.equal(scripted(batches[0][0]), model(batches[0][0]))

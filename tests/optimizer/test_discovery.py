"""From parameters alone to the layers that own them, in whatever runs forward."""

import gc

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from interpretable_sgd import InterpretableSGD
from tests.conftest import global_hooks, hooked
from tests.models import CASES, CLASSES, MLP, Case, same, train


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


SHARED = {"method": "shared", "form": 0, "shrink": 0}
BRAKE = {"block_size": 2}
ROUTE = {"brake": 0, "form": 0, "settle": 10**6, "block_size": 2}
METHODS = {"brake": BRAKE, "route": ROUTE, "shared": SHARED, "algorithm3": {"method": "algorithm3"}}
methods = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


def head_of(model: nn.Module, case: Case) -> nn.Module:
    return model if case.head == "Linear" else model.get_submodule(case.head)


@methods
def test_what_is_routed_is_known_after_the_first_step(case: Case, method: dict) -> None:
    model = case.model()
    head = head_of(model, case)
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, momentum=0.9, **method)
    assert global_hooks() > 0
    train(model, optimizer, case.batches(1))
    assert global_hooks() == 0 and list(optimizer.routed_units()) == [case.head]
    before = optimizer.state[head.weight]["moments"].clone()
    train(model, optimizer, case.batches(2)[1:])
    assert not torch.equal(optimizer.state[head.weight]["moments"], before)


@methods
def test_a_head_without_rival_is_observed_from_the_first_step(method: dict) -> None:
    case = CASES["bare linear"]
    model = case.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **method)
    train(model, optimizer, case.batches(1))
    assert optimizer.state[model.weight]["moments"].any()


@pytest.mark.parametrize("method", [BRAKE, ROUTE], ids=["brake", "route"])
@pytest.mark.parametrize("attached", [False, True], ids=["found", "attached"])
def test_the_first_gradient_of_a_named_layer_is_routed(attached: bool, method: dict) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers=["2"], **method)
    if attached:
        optimizer.attach(model)
    x, y = MLP.batches()[0]
    cross_entropy(model(x[:1]), y[:1]).backward()
    gradient = model[2].weight.grad
    optimizer.detach()
    assert 0 < (gradient != 0).sum(1).max() <= 2


def test_a_layer_called_by_keyword_is_trained_plainly_with_one_warning() -> None:
    """Its hooks are given no input."""
    ours, theirs = (CASES["bare linear"].model() for _ in range(2))
    optimizer = InterpretableSGD(ours.parameters(), lr=0.1)
    dense = torch.optim.SGD(theirs.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match="cannot be routed|found nothing to route") as record:
        for x, y in CASES["bare linear"].batches():
            for layer, each in ((ours, optimizer), (theirs, dense)):
                each.zero_grad()
                cross_entropy(layer(input=x), y).backward()
                each.step()
    assert len(record) == 1
    assert same(ours.parameters(), theirs.parameters())


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


@pytest.mark.parametrize(("name", "head"), [("resnet18", "fc"), ("squeezenet1_0", "classifier.1")])
def test_torchvision_models(name: str, head: str) -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    model = models.get_model(name, num_classes=7)
    optimizer = InterpretableSGD(
        model.parameters(), lr=1e-3, block_size=2, weight_decay=5e-4, **SHARED
    )
    owner = model.get_submodule(head)
    batch = torch.randn(3, 3, 64, 64), torch.tensor([1, 5, 2])
    train(model, optimizer, [batch])
    before = owner.weight.detach().clone()
    train(model, optimizer, [batch])
    ((routed, units),) = optimizer.routed_units().items()
    assert routed == head
    assert units.probabilities.sum(1).allclose(torch.tensor(2.0), rtol=1e-3)
    moved = (owner.weight != before).flatten(1)
    assert 0 < moved.sum() < moved.numel() / 10
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
    assert hooked(model) == []
    assert model(torch.ones(2, 6)).shape == (2, CLASSES)

"""torch.func, torch.compile of the step, CUDA graphs: what replaces weights, calls or kernels."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from tests.models import METHODS, MLP, Batch, same, train, weights

Gradients = Callable[[nn.Module, Batch], None]


def by_fast_weights(model: nn.Module, batch: Batch) -> None:
    """As in MAML: gradients reach the parameters through weights computed from them."""
    fast = {name: 0.9 * parameter for name, parameter in model.named_parameters()}
    cross_entropy(functional_call(model, fast, (batch[0],)), batch[1]).backward()


def by_transform(model: nn.Module, batch: Batch) -> None:
    """As in functional training loops: gradients are computed, then put into `.grad`."""

    def loss(values: dict[str, Tensor]) -> Tensor:
        return cross_entropy(functional_call(model, values, (batch[0],)), batch[1])

    named = dict(model.named_parameters())
    gradients = grad(loss)({name: parameter.detach() for name, parameter in named.items()})
    for name, parameter in named.items():
        parameter.grad = gradients[name]


CALLS = {"computed weights": by_fast_weights, "grad of functional_call": by_transform}
CHOICES = {"head": "head", "all": "all", "by name": ["2"]}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))


ways = pytest.mark.parametrize("way", [METHODS[name] for name in ("brake", "route", "shared")])


@calls
def test_layers_named_but_never_run_are_an_error(call: Gradients, batches: list[Batch]) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers=["2"])
    before = weights(model)
    call(model, batches[0])
    with pytest.raises(RuntimeError, match="not run forward"):
        optimizer.step()
    assert same(model.parameters(), before)
    optimizer.detach()


@pytest.mark.parametrize("layers", CHOICES.values(), ids=list(CHOICES))
def test_functional_diagnosis_before_training_is_fine(
    layers: str | list[str], model: nn.Module, batches: list[Batch]
) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers=layers)
    by_fast_weights(model, batches[0])
    train(model, optimizer, batches)
    assert "2" in optimizer.routed_units()


@pytest.mark.row(
    "Compilers and transforms",
    "training by `torch.func.functional_call`",
    "the layers run without the optimizer's parameters; a step after it is a plain one",
    answer="plain",
)
@calls
@ways
def test_functional_training_after_some_steps_is_plain_and_said_so(
    way: dict, call: Gradients, batches: list[Batch]
) -> None:
    """Statistics of the past select nothing in such a step, and no step after it is disturbed."""
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, momentum=0.9, shrink=0, **way)
    train(model, optimizer, batches)
    twin = copy.deepcopy(model)
    sgd = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    for parameter, other in zip(model.parameters(), twin.parameters(), strict=True):
        sgd.state[other]["momentum_buffer"] = optimizer.state[parameter]["momentum_buffer"].clone()
    moments = optimizer.state[model[2].weight]["moments"]
    before = moments[1:].clone()
    optimizer.zero_grad()
    call(model, batches[0])
    call(twin, batches[0])
    sgd.step()
    with pytest.warns(UserWarning, match="the gradient of 2 came without the layer's statistics"):
        optimizer.step()
    assert torch.equal(moments[1:], before)
    changed = weights(model)
    assert same(changed[:2] + changed[3:], (weights(twin)[:2] + weights(twin)[3:]))
    # Fading goes on: only what is idle may differ, by being smaller.
    if optimizer.phase == "route":
        assert (changed[2].abs() <= twin[2].weight.abs() + 1e-7).all()
    else:
        assert torch.equal(changed[2], twin[2].weight)
    train(model, optimizer, batches)
    assert optimizer.state[model[2].weight]["steps"] == 2 * len(batches) + 1
    assert not torch.equal(optimizer.state[model[2].weight]["moments"][1:], before)


@calls
def test_nothing_is_routed_so_functional_training_is_sgd(
    call: Gradients, batches: list[Batch]
) -> None:
    results = []
    for kind, options in ((InterpretableSGD, {"layers": "none"}), (torch.optim.SGD, {})):
        model = MLP.model()
        optimizer = kind(model.parameters(), lr=0.1, **options)
        for batch in batches:
            optimizer.zero_grad()
            call(model, batch)
            optimizer.step()
        results.append(weights(model))
    assert same(*results)


@calls
def test_a_functional_call_before_training_hides_no_layer(
    call: Gradients, batches: list[Batch]
) -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    call(model, batches[0])
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["2"]


@ways
def test_functional_calls_with_the_parameters_themselves_are_routed(
    way: dict, batches: list[Batch]
) -> None:
    called, plain = MLP.model(), MLP.model()
    optimizer = InterpretableSGD(called.parameters(), lr=0.1, **way)
    train(
        lambda x: functional_call(called, dict(called.named_parameters()), (x,)), optimizer, batches
    )
    train(plain, InterpretableSGD(plain.parameters(), lr=0.1, **way), batches)
    assert same(called.parameters(), plain.parameters())
    assert list(optimizer.routed_units()) == ["2"]


@pytest.mark.row(
    "Compilers and transforms",
    "`torch.compile(optimizer.step)`",
    "the step itself runs eagerly: it reads Python numbers",
)
@pytest.mark.parametrize(
    "way", [METHODS[name] for name in ("brake", "form", "route", "settle", "shared, narrowing")]
)
def test_a_compiled_step_is_the_eager_one(way: dict) -> None:
    results = []
    for compiled in (True, False):
        torch._dynamo.reset()
        model = MLP.model()
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, momentum=0.9, **way)
        step = torch.compile(optimizer.step, backend="aot_eager") if compiled else optimizer.step
        for x, y in MLP.batches(12):
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            step()
        assert optimizer.state[model[2].weight]["steps"] == 12
        results.append(weights(model))
    assert same(*results)


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def captured(model: nn.Module, optimizer: InterpretableSGD, batch: Batch) -> torch.cuda.CUDAGraph:
    """Forward and backward as a graph, after three steps in a stream of their own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        train(model, optimizer, [batch] * 3)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad()
    with torch.cuda.graph(graph):
        cross_entropy(model(batch[0]), batch[1]).backward()
    return graph


@pytest.mark.row(
    "Compilers and transforms",
    "CUDA graphs of forward and backward, `step()` after each replay",
    "every replay brings its statistic; a captured `step()` is an error",
)
@pytest.mark.gpu
@cuda
@pytest.mark.parametrize("way", [METHODS[name] for name in ("brake", "settle", "shared")])
def test_cuda_graphs_of_forward_and_backward(way: dict) -> None:
    batch, *more = [(x.cuda(), y.cuda()) for x, y in MLP.batches(5)]
    results = []
    for graphed in (True, False):
        model = MLP.model().cuda()
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, **way)
        static = batch[0].clone(), batch[1].clone()
        if graphed:
            graph = captured(model, optimizer, static)
        else:
            train(model, optimizer, [static] * 3)
        for x, y in more:
            static[0].copy_(x)
            static[1].copy_(y)
            if graphed:
                graph.replay()
                optimizer.step()
            else:
                train(model, optimizer, [static])
        results.append([*weights(model), optimizer.state[model[2].weight]["moments"]])
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@cuda
def test_a_captured_step_is_an_error() -> None:
    batch = tuple(tensor.cuda() for tensor in MLP.batches(1)[0])
    model = MLP.model().cuda()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    captured(model, optimizer, batch).replay()
    with (
        pytest.raises(RuntimeError, match=r"step\(\) cannot be captured in a CUDA graph"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        optimizer.step()


def test_a_step_that_would_be_captured_is_an_error(
    monkeypatch: pytest.MonkeyPatch, batches: list[Batch]
) -> None:
    """As a machine without a GPU can show it."""
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches)
    before = weights(model)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match=r"step\(\) cannot be captured in a CUDA graph"):
        optimizer.step()
    assert same(model.parameters(), before)

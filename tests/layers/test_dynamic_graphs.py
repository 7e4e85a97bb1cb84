"""Routed layers in compiled and exported graphs."""

import io

import pytest
import torch
from torch import nn

from interpretable_sgd import DynamicConv2d, DynamicLinear


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        DynamicConv2d(8, 16, 4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        DynamicLinear(16, 5, 3),
    )


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_graph_breaks(dynamic):
    model, x = network(), torch.rand(4, 3, 6, 6)
    expected = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for batch in (4, 3):
        torch.testing.assert_close(compiled(x[:batch]), model(x[:batch]))
    got = torch.autograd.grad(compiled(x).square().sum(), list(model.parameters()))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_compiles_under_autocast():
    model, x = network(), torch.rand(4, 3, 6, 6)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        assert compiled(x).dtype == torch.bfloat16
        torch.testing.assert_close(compiled(x), model(x))


def test_exported_graph_holds_standard_operators_only():
    model, x = network().eval(), torch.rand(4, 3, 6, 6)
    dynamic = ({0: torch.export.Dim("batch", min=1)},)
    program = torch.export.export(model, (x,), dynamic_shapes=dynamic)
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert not [t for t in targets if "interpretable_sgd" in t]
    stored = io.BytesIO()
    torch.export.save(program, stored)
    stored.seek(0)
    loaded = torch.export.load(stored).module()
    more = torch.rand(7, 3, 6, 6)
    torch.testing.assert_close(loaded(more), model(more))


def test_onnx_graph_computes_the_same():
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model, x = network().eval(), torch.rand(4, 3, 6, 6)
    program = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    y = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(y), model(x))

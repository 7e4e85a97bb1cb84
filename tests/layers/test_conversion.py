"""route and unroute: what is replaced, what is kept, what is refused."""

import copy

import pytest
import torch
from torch import nn

from interpretable_sgd import DynamicConv2d, DynamicLinear, route, unroute


class Block(nn.Module):
    """A residual block with the names of torchvision's."""

    def __init__(self, inputs, outputs, stride=1, groups=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            if inputs != outputs
            else None
        )

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        return (self.conv2(self.conv1(x).relu()) + shortcut).relu()


class Residual(nn.Module):
    """Two stages, a 1x1 convolution and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.layer1 = nn.Sequential(Block(8, 8), Block(8, 8))
        self.layer2 = nn.Sequential(Block(8, 16, 2), Block(16, 16))
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        return self.fc(self.layer2(self.layer1(self.stem(x))).mean((2, 3)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Residual()


def routed(model):
    return [
        name for name, m in model.named_modules() if isinstance(m, (DynamicLinear, DynamicConv2d))
    ]


def test_an_int_routes_the_head_and_keeps_its_parameters(model):
    weight, bias = model.fc.weight, model.fc.bias
    assert route(model, k=3) is model
    assert routed(model) == ["fc"]
    assert model.fc.weight is weight and model.fc.bias is bias
    assert model.fc.k == 3


def test_default_k_is_the_papers():
    assert route(nn.Linear(16, 5)).k == 5


def test_a_mapping_routes_the_named_layers(model):
    route(model, k={"fc": 3, "layer2.0.downsample.0": 4}, selection="exactly_k")
    assert routed(model) == ["layer2.0.downsample.0", "fc"]
    conv = model.layer2[0].downsample[0]
    assert (conv.k, conv.selection, conv.stride) == (4, "exactly_k", (2, 2))
    model(torch.rand(2, 3, 8, 8)).sum().backward()


def test_a_predicate_routes_what_it_accepts(model):
    route(model, k=3, where=lambda name, layer: isinstance(layer, nn.Conv2d))
    assert routed(model) == ["stem", "layer2.0.downsample.0"]


def test_a_model_without_linear_layers_ends_in_its_last_pointwise_convolution():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 5, 1), nn.Flatten())
    assert routed(route(model, k=2)) == ["1"]


def test_routing_computes_what_the_layer_computes(model):
    x = torch.rand(2, 3, 8, 8)
    features = copy.deepcopy(model)
    features.fc = nn.Identity()
    layer = DynamicLinear(16, 5, 3)
    layer.load_state_dict(model.fc.state_dict())
    torch.testing.assert_close(route(model, k=3)(x), layer(features(x)))


def test_unroute_gives_the_plain_model_back(model):
    x, original = torch.rand(2, 3, 8, 8), copy.deepcopy(model)
    again = unroute(route(model, k={"fc": 3, "stem": 2}))
    assert routed(again) == []
    assert type(again.fc) is nn.Linear and type(again.stem) is nn.Conv2d
    assert not hasattr(again.fc, "k")
    assert torch.equal(again(x), original(x))
    assert str(again) == str(original)


def test_state_dict_of_a_routed_model_is_that_of_the_plain_one(model):
    state = copy.deepcopy(model).state_dict()
    assert route(model, k=3).load_state_dict(state)


def test_hooks_mode_and_freezing_survive(model):
    seen = []
    model.fc.register_forward_hook(lambda *_: seen.append(1))
    model.fc.weight.requires_grad_(False)
    model.eval()
    route(model, k=3)(torch.rand(1, 3, 8, 8))
    assert seen and not model.fc.training and not model.fc.weight.requires_grad


def test_a_layer_registered_twice_is_replaced_twice():
    shared = nn.Linear(8, 8)
    model = route(nn.Sequential(shared, nn.ReLU(), shared), k={"0": 3})
    assert model[0] is model[2] and isinstance(model[0], DynamicLinear)


def test_insert_puts_a_routed_layer_before_a_stage(model):
    route(model, k=3, insert={"layer2": 4})
    assert routed(model) == ["layer2.0", "fc"]
    entry = model.layer2[0]
    assert (entry.in_channels, entry.out_channels, entry.k, entry.bias) == (8, 16, 4, None)
    assert model.layer2[1].conv1.in_channels == 16
    assert model.layer2[1].downsample[0].in_channels == 16
    model(torch.rand(2, 3, 8, 8)).sum().backward()
    assert entry.weight.grad.abs().sum() > 0
    assert routed(unroute(model)) == []


def test_the_supplements_network():
    models = pytest.importorskip("torchvision.models")
    model = route(models.resnet18(num_classes=10), k=5, insert={"layer3": 32, "layer4": 32})
    found = {
        name: (tuple(m.weight.shape), m.k) for name, m in model.named_modules() if hasattr(m, "k")
    }
    assert found == {
        "layer3.0": ((256, 128, 1, 1), 32),
        "layer4.0": ((512, 256, 1, 1), 32),
        "fc": ((10, 512), 5),
    }
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"k": 17}, ValueError, r"'fc': k must be in 1 \.\. 16, the number of input units, got 17"),
        ({"k": 0}, ValueError, "'fc': k must be in .* got 0"),
        ({"k": 2.5}, TypeError, "'fc': k must be an int, got 2.5"),
        ({"k": {"head": 3}}, ValueError, "the model has no layer named 'head'"),
        ({"k": {"layer1.0.conv1": 3}}, ValueError, "'layer1.0.conv1' is no 1x1 convolution"),
        ({"k": {"layer1": 3}}, TypeError, "'layer1' must be a plain .* got Sequential"),
        ({"k": 3, "insert": {"layer9": 3}}, ValueError, "the model has no layer named 'layer9'"),
        ({"k": 3, "insert": {"fc": 3}}, ValueError, "insert needs a stage .* 'fc' is Linear"),
        ({"k": 3, "insert": {"layer2": 9}}, ValueError, r"'layer2': k must be in 1 \.\. 8"),
        ({"k": 3, "where": lambda *_: False}, ValueError, "where accepts none"),
        ({"k": {"fc": 3}, "where": lambda *_: True}, ValueError, "where needs one int k"),
        ({"k": 3, "selection": "top"}, ValueError, "selection must be one of"),
    ],
)
def test_refusals_leave_the_model_as_it_was(model, arguments, error, message):
    before = str(model)
    with pytest.raises(error, match=message):
        route(model, **arguments)
    assert str(model) == before


def test_a_model_without_layers():
    with pytest.raises(ValueError, match=r"neither a Linear layer nor a 1x1 convolution"):
        route(nn.ReLU())


def test_routing_twice_names_the_class(model):
    route(model, k=3)
    with pytest.raises(
        TypeError, match=r"must be a plain nn.Linear or nn.Conv2d, got DynamicLinear"
    ):
        route(model, k={"fc": 3})


def test_layers_that_their_parent_bypasses():
    model = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16), 1, enable_nested_tensor=False
    )
    with pytest.raises(TypeError, match="its TransformerEncoderLayer reads the weights directly"):
        route(model, k={"layers.0.linear1": 3})


def test_grouped_stages_are_refused():
    model = nn.Sequential(nn.Sequential(Block(8, 8, groups=2)), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="an ungrouped conv1; '0' is Sequential"):
        route(model, k=2, insert={"0": 3})

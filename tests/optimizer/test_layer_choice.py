"""Which layers are routed: keywords, names, patterns, modules, predicates, groups."""

from typing import Any

import pytest
import torch
from torch import nn

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer.layer_choice import LayerChoice
from interpretable_sgd.optimizer.probes import PROBE
from tests.models import CASES, CLASSES, MLP, Case, same, train, weights


class Net(nn.Module):
    """Names with dots and numbers, a layer that is no Linear, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.LayerNorm(9))
        self.block2 = nn.Sequential(nn.Linear(9, 20), nn.ReLU(), nn.Linear(20, 8))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.head(self.block2(self.block1(input)).relu())


ALL = ["block1.0", "block2.0", "block2.2", "head"]
CHOICES = {
    "default": (None, ["head"]),
    "head": ("head", ["head"]),
    "all": ("all", ALL),
    "none": ("none", []),
    "keyword in a list": (["all"], ALL),
    "name": ("block2.0", ["block2.0"]),
    "names": (["block1.0", "head"], ["block1.0", "head"]),
    "pattern": ("block2.*", ["block2.0", "block2.2"]),
    "patterns": (("*.0", "h?ad"), ["block1.0", "block2.0", "head"]),
    "predicate": (lambda name, layer: layer.in_features == 9, ["block2.0"]),
    "layer": (lambda net: net.block2[2], ["block2.2"]),
    "block": (lambda net: net.block2, ["block2.0", "block2.2"]),
    "layers": (lambda net: [net.block1, net.head], ["block1.0", "head"]),
    "generator": (lambda net: (m for m in net.block2), ["block2.0", "block2.2"]),
}
OF_THE_MODEL = {"layer", "block", "layers", "generator"}
choices = pytest.mark.parametrize("choice", CHOICES)


def chosen(choice: str, net: Net) -> dict[str, Any]:
    layers, _ = CHOICES[choice]
    if layers is None:
        return {}
    return {"layers": layers(net) if choice in OF_THE_MODEL else layers}


@pytest.mark.parametrize("attached", [False, True], ids=["found", "attached"])
@choices
def test_layers_are_routed_as_chosen(choice: str, attached: bool) -> None:
    net = Net()
    optimizer = InterpretableSGD(net.parameters(), lr=0.1, **chosen(choice, net))
    if attached:
        optimizer.attach(net)
    train(net, optimizer, MLP.batches(2))
    assert list(optimizer.routed_units()) == CHOICES[choice][1]


@choices
def test_a_group_chooses_for_its_own_parameters(choice: str) -> None:
    net = Net()
    options = {"layers": "head"} | chosen(choice, net)
    inside = [*net.block1.parameters(), *net.block2.parameters(), *net.head.parameters()]
    optimizer = InterpretableSGD([{"params": inside, **options}], lr=0.1, layers="none")
    train(net, optimizer, MLP.batches(2))
    assert list(optimizer.routed_units()) == CHOICES[choice][1]


def test_groups_choose_apart_from_each_other() -> None:
    net = Net()
    groups = [
        {"params": net.block1.parameters(), "layers": "all", "block_size": 2},
        {"params": net.block2.parameters(), "layers": ["block2.2"], "block_size": 3},
        {"params": net.head.parameters(), "layers": "none"},
    ]
    optimizer = InterpretableSGD(groups, lr=0.1)
    train(net, optimizer, MLP.batches(2))
    units = optimizer.routed_units()
    assert {name: read.block_size for name, read in units.items()} == {"block1.0": 2, "block2.2": 3}


def test_the_head_is_one_for_all_groups() -> None:
    net = Net()
    groups = [{"params": part.parameters()} for part in (net.head, net.block2, net.block1)]
    optimizer = InterpretableSGD(groups, lr=0.1)
    train(net, optimizer, MLP.batches(2))
    assert list(optimizer.routed_units()) == ["head"]


@pytest.mark.parametrize("attached", [False, True], ids=["found", "attached"])
@pytest.mark.parametrize("choice", ["name", "names", "pattern", "layer", "block", "predicate"])
def test_a_choice_may_cover_groups_that_have_nothing_of_it(choice: str, attached: bool) -> None:
    """The usual two groups, with and without weight decay, and one `layers` for both."""
    net = Net()
    groups = [
        {"params": [p for p in net.parameters() if p.dim() > 1]},
        {"params": [p for p in net.parameters() if p.dim() == 1], "weight_decay": 0},
    ]
    options = {"lr": 0.1, "weight_decay": 1e-3} | chosen(choice, net)
    optimizer = InterpretableSGD(groups, **options)
    if attached:
        optimizer.attach(net)
    train(net, optimizer, MLP.batches(2))
    assert list(optimizer.routed_units()) == CHOICES[choice][1]


def test_nothing_routed_leaves_no_trace(case: Case) -> None:
    model = case.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers="none")
    train(model, optimizer, case.batches(2))
    assert not any(optimizer.state.values())
    assert not any(module._forward_hooks or PROBE in vars(module) for module in model.modules())


@pytest.mark.parametrize("wrong", [3, [3], [None], [["fc"]], {1.5}])
def test_other_things_are_refused(wrong: Any) -> None:
    message = r"layers must be 'head', 'all', 'none', names, modules or a function of \(name, mod"
    with pytest.raises(TypeError, match=message):
        InterpretableSGD([nn.Parameter(torch.ones(1))], layers=wrong)
    with pytest.raises(TypeError, match=message):
        InterpretableSGD([{"params": nn.Parameter(torch.ones(1)), "layers": wrong}])


def test_an_empty_choice_is_refused_in_the_first_step() -> None:
    model = MLP.model()
    before = weights(model)
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers=[])
    with pytest.raises(RuntimeError, match=r"layers=\[\] routes .* nothing was updated"):
        train(model, optimizer, MLP.batches(1))
    assert same(model.parameters(), before)
    optimizer.detach()


def test_a_predicate_sees_layers_that_own_parameters_of_the_group() -> None:
    net, seen = Net(), []

    def predicate(name: str, layer: nn.Module) -> bool:
        seen.append((name, layer))
        return name == "head"

    optimizer = InterpretableSGD(
        [*net.block2.parameters(), *net.head.parameters()], lr=0.1, layers=predicate
    )
    train(net, optimizer, MLP.batches(2))
    assert seen == [
        ("block2.0", net.block2[0]),
        ("block2.2", net.block2[2]),
        ("head", net.head),
    ]


@pytest.mark.parametrize(
    ("layers", "key"),
    [
        ("head", "head"),
        (["none"], "none"),
        ("fc", ["fc"]),
        (["head", "fc"], ["head", "fc"]),
        (nn.ReLU(), "given"),
        (lambda name, layer: True, "given"),
    ],
    ids=str,
)
def test_a_group_holds_what_a_checkpoint_can(layers: Any, key: str | list[str]) -> None:
    assert LayerChoice(layers).plain == key


def test_one_word_among_several_is_a_name() -> None:
    """ "head" in a list of several is the layer of that name, so that no choice is ambiguous."""
    choice = LayerChoice(["head", "fc"])
    layer = nn.Linear(1, 1)
    assert [choice.holds(name, layer) for name in ("head", "fc", "body")] == [True, True, False]


def test_convolutions_are_routed_by_name() -> None:
    case = CASES["convolutions"]
    model = case.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers=["0", "5"])
    train(model, optimizer, case.batches(2))
    shapes = {name: tuple(u.support.shape) for name, u in optimizer.routed_units().items()}
    assert shapes == {"0": (8, 18), "5": (CLASSES, 48)}

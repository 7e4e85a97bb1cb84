"""Graphs and formulas of what classes read, and how well that is what they are made of."""

import pytest
import torch
from torch import nn

from interpretable_sgd import DynamicConv2d
from interpretable_sgd.analysis import agreement, class_concepts, compose, connections, formula
from interpretable_sgd.analysis.composition import strongest

WEIGHT = torch.tensor([[2.0, 0.0, -1.0], [0.0005, 3.0, 0.0]])
BELOW = torch.tensor([[1.0, 0.0], [0.0, -4.0], [0.5, 0.25]])


def edges(graph):
    return {
        (graph.nodes[e.target].label, graph.nodes[e.source].label): e.weight for e in graph.edges
    }


def test_two_levels_of_named_units():
    graph = compose(
        WEIGHT,
        BELOW,
        class_names=["a", "b"],
        labels=["x", "y", "z"],
        labels_below=["p", "q"],
    )
    assert edges(graph) == {
        ("a", "x"): 2.0,
        ("a", "z"): -1.0,
        ("b", "y"): 3.0,
        ("x", "p"): 1.0,
        ("z", "p"): 0.5,
        ("z", "q"): 0.25,
        ("y", "q"): -4.0,
    }
    assert [node.level for node in graph.nodes] == [0, 0, 1, 1, 1, 2, 2]


def test_the_strongest_alone_and_chosen_classes():
    graph = compose(WEIGHT, class_names=["a", "b"], classes=[1, 0], top=1)
    assert edges(graph) == {("b", "unit 1"): 3.0, ("a", "unit 0"): 2.0}
    assert [node.label for node in graph.nodes[:2]] == ["b", "a"]


def test_weights_below_the_threshold_are_none():
    assert strongest(WEIGHT[1], top=3) == [(1, 3.0)]
    assert strongest(torch.zeros(3), top=3) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": ["a"]}, "class_names must be 2 names, got 1"),
        ({"labels": ["x"]}, "labels must be 3 names, got 1"),
        ({"below": BELOW[:2]}, "below must have 3 rows, one for each unit, got 2"),
        ({"top": 0}, "top must be at least 1, got 0"),
    ],
)
def test_bad_arguments(options, message):
    below = options.pop("below", BELOW)
    with pytest.raises(ValueError, match=message):
        compose(WEIGHT, below, **{"class_names": ["a", "b"], **options})


def test_connections_are_the_response_to_a_constant_map():
    for layer in (
        nn.Conv2d(4, 6, 3, bias=False),
        nn.Conv2d(4, 6, 3, groups=2, bias=False),
        nn.Conv2d(4, 4, 3, groups=4, bias=False),
        nn.Linear(4, 6, bias=False),
    ):
        constant = torch.rand(4)
        shape = (4,) if isinstance(layer, nn.Linear) else (4, 3, 3)
        made = layer(constant.view(-1, *[1] * (len(shape) - 1)).expand(1, *shape)).flatten()
        assert torch.allclose(connections(layer) @ constant, made, atol=1e-6)


def test_connections_of_a_routed_layer_are_its_weights():
    layer = DynamicConv2d(4, 6, k=2)
    assert torch.equal(connections(layer), layer.weight.detach().flatten(1))


def test_layers_without_weights_connect_nothing():
    with pytest.raises(TypeError, match="layer must be a Linear or Conv2d layer, got ReLU"):
        connections(nn.ReLU())


def test_formulas():
    assert formula("c", [], bias=0.0) == "c = 0.00"
    assert formula("c", [("x", -1.0)], bias=0.0, others=1) == "c = - 1.00 x + 1 other"


def test_agreement_by_hand():
    found = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 0]], dtype=torch.bool)
    truth = torch.tensor([[1, 0, 1], [1, 0, 0], [1, 0, 0]], dtype=torch.bool)
    score = agreement(found, truth)
    assert score.precision.tolist() == [0.5, 0, 1]
    assert score.recall.tolist() == [0.5, 0, 1]
    assert score.f1.tolist() == [0.5, 0, 1]
    with pytest.raises(ValueError, match=r"truth must have the shape \(3, 3\), got \(2, 3\)"):
        agreement(found, truth[:2])


def test_negative_weights_and_doubtful_labels_are_no_concepts():
    weight = torch.tensor([[1.0, -1.0, 1.0]])
    trusted = torch.tensor([True, True, False])
    assert class_concepts(weight, torch.tensor([0, 1, 2]), trusted, 3).tolist() == [
        [True, False, False]
    ]

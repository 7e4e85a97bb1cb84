"""A line of text is an optimizer."""

import pytest
import torch
from torch import nn

from experiments.paper.grids import ABLATION, FRONTIER, TABLE1
from experiments.paper.methods import Method, method
from experiments.paper.recipes import Recipe

RECIPE = Recipe(epochs=2, batch=8, lr=0.2, weight_decay=1e-4, momentum=0.8)


class Net(nn.Module):
    """Six units, three classes."""

    def __init__(self):
        super().__init__()
        self.body, self.fc = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(self.body(x).relu())


def group(text, steps=100):
    chosen = method(text)
    return chosen.optimizer(Net(), chosen.adapt(RECIPE), steps, seed=5).param_groups[0]


def test_what_a_text_says():
    assert method("sgd") == Method("sgd")
    text = "isgd block_size=3 layers=['fc','body'] lipschitz=weight momentum=0 lr=1"
    options = {"block_size": 3, "layers": ["fc", "body"], "lipschitz": "weight"}
    assert method(text) == Method("isgd", options, {"momentum": 0, "lr": 1})


@pytest.mark.parametrize("text", ["sgd", "l1", "isgd", "unbiased", "faithful"])
def test_all_are_trained_at_the_recipe(text):
    settings = group(text)
    assert [settings[k] for k in ("lr", "weight_decay", "momentum")] == [0.2, 1e-4, 0.8]
    assert group(f"{text} momentum=0.5")["momentum"] == 0.5


def test_the_block_narrows_over_two_fifths_unless_told_otherwise():
    assert group("isgd", steps=1000)["horizon"] == 400
    assert group("isgd horizon=7", steps=1000)["horizon"] == 7
    assert group("unbiased")["horizon"] == group("faithful")["horizon"] == 0


def test_faithful_is_algorithm_3_and_unbiased_divides():
    faithful = group("faithful")
    printed = {
        "mask": "per-sample",
        "probabilities": "paper",
        "lipschitz": "softmax",
        "sparsity": 0.5,
    }
    assert {name: faithful[name] for name in printed} == printed
    assert group("unbiased")["correction"] == "unbiased"


def test_l1_shrinks_the_head_alone():
    chosen, net = method("l1 strength=1e3"), Net()
    optimizer = chosen.optimizer(net, RECIPE, 10, seed=0)
    nn.functional.cross_entropy(net(torch.rand(8, 4)), torch.zeros(8).long()).backward()
    optimizer.step()
    assert not net.fc.weight.any() and net.body.weight.all()


@pytest.mark.parametrize("row", [*TABLE1, *FRONTIER, *ABLATION], ids=" ".join)
def test_every_method_of_the_grids_can_be_read(row):
    assert method(row[1]).name in ("sgd", "l1", "isgd", "unbiased", "faithful")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adam", r"method must be one of sgd, l1, isgd.*, got 'adam'"),
        ("", r"method must be one of .*, got ''"),
        ("isgd block_size", r"options as name=value, got 'block_size'"),
        ("isgd block_size=-1", r"method 'isgd block_size=-1': block_size must"),
        ("isgd colour=red", r"method 'isgd colour=red': .*colour"),
        ("sgd strength=1", r"method 'sgd strength=1': it has no options strength"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(ValueError, match=message):
        method(text)

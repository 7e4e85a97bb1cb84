"""Costs are those of the recipes."""

from experiments.paper import costs
from experiments.paper.planned import Planned


def plan(method="sgd", data="cifar10", scale="paper", network="resnet18"):
    return Planned(network, method, data, scale, 0)


def test_epochs_are_the_recipes_unless_the_method_says_otherwise():
    assert costs.epochs(plan()) == 200
    assert costs.epochs(plan(data="places365")) == 70
    assert costs.epochs(plan("isgd epochs=3")) == 3


def test_what_was_not_measured_is_not_guessed(monkeypatch):
    monkeypatch.setattr(costs, "MEASURED", {("tiny", "cifar10", "resnet18"): 90.0})
    known, unknown = plan(scale="tiny"), plan(scale="tiny", network="resnet50_d25a")
    assert costs.seconds([known, known]) == 180 and costs.seconds([known, unknown]) is None
    assert costs.spoken([known, known]) == ("2 x 4", "3")
    assert costs.spoken([plan(), plan(data="places365")]) == ("1 x 70 + 1 x 200", "?")

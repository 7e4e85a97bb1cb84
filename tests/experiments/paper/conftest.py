"""Runs that take a second: the true code on few, small images."""

import pytest

from experiments.paper.place import Place
from experiments.paper.planned import Planned
from experiments.paper.recipes import RECIPES, Recipe
from experiments.paper.runs import Run
from experiments.threads import threads
from experiments.training.schedules import Schedule

DATA = "scenes:size=16,classes=4,concepts=6,train=48,validation=20,test=24"
QUICK = Recipe(
    epochs=2,
    batch=8,
    schedule=Schedule("cosine"),
    share=0.125,
    blocks=1,
    watched=16,
    dissected=20,
    frozen=48,
)


@pytest.fixture(autouse=True)
def one_thread():
    """As `run` has it: the last digits of a result depend on the number of threads."""
    with threads(1):
        yield


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """A maker of runs, by network, method and seed, that lie in the test's folder."""
    monkeypatch.setitem(RECIPES["scenes"], "tiny", QUICK)
    place = Place(tmp_path / "out", {})

    def make(network="resnet18_isgd", method="isgd", seed=0):
        planned = Planned(network, method, DATA, "tiny", seed)
        return Run(planned, place, place.images(planned))

    return make

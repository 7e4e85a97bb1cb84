"""Concept data by name, and that a net is shown it as it is shown the images."""

import re

import pytest
import torch

from experiments.datasets.concepts import GeneratedConcepts, concept_arrays, open_concepts
from experiments.datasets.registry import open_data
from experiments.datasets.spec import DataError
from experiments.datasets.synthetic.scenes import Scenes
from interpretable_sgd.analysis.concepts import Concept


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


def test_concepts_of_a_stand_in_show_its_classes(out):
    data = open_data("cifar10", out=out)
    concepts = GeneratedConcepts(data.source, "test", 3)
    assert concepts[0].size == (data.size, data.size) and concepts.name(2) == "test 2"
    for n in range(3):
        assert data.prepare(concepts[n].image).shape == data.shape
        seen = torch.from_numpy(concepts[n].labels[0]).unique()
        own = 1 + data.source.composition[n].nonzero().flatten()
        assert set(own.tolist()) <= set(seen.tolist())


def test_broden_shows_the_scenes_of_places(out):
    broden = open_concepts("broden", out=out)
    again = open_concepts(f"broden:{broden.root}", scale="paper")
    assert len(broden) == len(again) == 96 and broden.root == again.root
    names = {concept.name for concept in broden.table.concepts}
    scenes = open_data("places365", out=out).source
    assert set(scenes.concept_names) < names
    assert {name + "-s" for name in scenes.class_names} < names
    assert broden[0].image.shape == (3, scenes.size, scenes.size)


def test_broden_at_another_size(out):
    assert open_concepts("broden", out=out, size=24)[0].image.shape == (3, 24, 24)


def test_arrays_are_what_is_drawn_one_by_one():
    source = Scenes(classes=6, concepts=6)
    at_once = concept_arrays(source, "test", 2)
    assert at_once.table.concepts[0] == Concept(1, "red plain disc", "object")
    assert torch.equal(at_once[1].image, source.tensors("test", [1])[0][0])


@pytest.mark.parametrize(
    "text, scale, said",
    [
        ("ade20k", "tiny", "name must be broden, got 'ade20k'"),
        ("broden:size=3", "tiny", "broden takes a path and no options, got size"),
        ("broden", "huge", "scale must be one of tiny, small, paper, got 'huge'"),
        (
            "broden",
            "paper",
            "broden must have a path at scale paper, broden:PATH, of a Broden folder",
        ),
        ("broden:/none", "paper", "/none must be or hold a Broden folder with index.csv"),
    ],
)
def test_errors_at_the_door(text, scale, said):
    with pytest.raises((ValueError, DataError), match=re.escape(said)):
        open_concepts(text, scale=scale)

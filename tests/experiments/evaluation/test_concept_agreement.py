"""Figures of units: what no unit can exceed, and what a net made of concepts gets."""

import pytest
import torch
from torch import nn

from experiments.datasets.concepts import concept_arrays
from experiments.datasets.synthetic.scenes import Scenes
from experiments.evaluation import concept_agreement as agreement
from experiments.models.classifiers import Classifier
from interpretable_sgd import analysis


class Oracle(nn.Module):
    """Maps of one unit a concept, active on its pixels alone, by amounts that differ."""

    def __init__(self, images, masks):
        super().__init__()
        amounts = 1 + torch.rand(masks.shape, generator=torch.Generator().manual_seed(0))
        self.known = {
            image.numpy().tobytes(): mask * amount
            for image, mask, amount in zip(images, masks, amounts, strict=True)
        }

    def forward(self, images):
        return torch.stack([self.known[image.numpy().tobytes()] for image in images])


def oracle(source, n):
    """A net whose units are the concepts, and whose head is the composition."""
    images, _ = source.tensors("validation", n)
    maps = Oracle(images, source.masks("validation", n))
    pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
    model = Classifier(maps, pool, source.concepts, source.classes)
    with torch.no_grad():
        model.fc.weight.copy_(source.composition)
    return model


@pytest.fixture(scope="module")
def figures():
    source = Scenes(size=24)
    model = oracle(source, 200)
    return agreement.concept_agreement(
        model.fc.weight, agreement.unit_concepts(model, source, "validation", 200)
    )


def test_a_net_of_concepts_has_true_formulas(figures):
    for quantile in ("published", "matched"):
        for strength in ("weight", "contribution"):
            assert figures[quantile]["category"][strength]["f1"] == 1
    assert figures["selectivity"] > 0.999
    assert figures["read"] == figures["alive"] == figures["units"] == 16
    assert figures["positive_share"] == 1


def test_peers_metrics_of_units_that_are_concepts(figures):
    """Classes have two or three units, so none has five; every unit is on or off."""
    peers = figures["peers"]
    assert peers["sid"] is None
    assert peers["contrastiveness"] > 0.95
    assert 0.5 < peers["class_independence"] < 1 - 1 / 24


def test_maps_are_those_of_the_units_and_the_mode_is_kept():
    source = Scenes(size=24)
    model = oracle(source, 30).train()
    images, _ = source.tensors("validation", 30)
    maps = agreement.maps_of(model, images)
    assert model.training and torch.equal(maps.bool(), source.masks("validation", 30))


def test_a_false_formula_has_the_f1_of_its_overlap():
    truth = torch.tensor([[True, True, False]])
    iou = torch.eye(3)
    found = agreement.agreeing(iou, {"weight": torch.tensor([[True, False, True]])}, truth)
    assert found["weight"]["f1"] == pytest.approx(0.5)
    assert found["mean_iou"] == found["weight"]["mean_iou"] == 1


@pytest.mark.parametrize("quantile", [0.003, 0.005, 0.012])
def test_a_concept_itself_reaches_the_ceiling(quantile):
    source = Scenes(size=24)
    concepts = concept_arrays(source, "validation", 150)
    coverage = source.masks("validation", 150).double().mean((0, 2, 3))
    model = oracle(source, 150)
    found = analysis.dissect(model, model.maps, concepts, quantile=quantile, permutations=0)
    ceiling = agreement.ceiling(coverage, quantile)
    assert ceiling.min() < 0.8
    torch.testing.assert_close(found.best, ceiling, rtol=0, atol=0.01)
    others = found.iou["category"].clone().fill_diagonal_(0)
    assert (others <= ceiling).all()


def test_formulas_are_few_and_positive():
    strength = torch.tensor([[0.0, -1.0, 0.0, 2.0, 1.0, 3.0, 0.5, 0.1]])
    assert agreement.formulas(strength).sum() == 5
    assert agreement.formulas(-strength).sum() == 1


def test_contributions_are_weights_times_what_a_class_shows():
    activations = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    found = agreement.contributions(torch.eye(2), activations, torch.tensor([0, 0, 1]))
    assert found.tolist() == [[2.0, 0.0], [0.0, 5.0]]

"""Some samples of a data set are evenly spaced ones of it; scores of units that are the concepts."""

import pytest
import torch
from torch import nn

from experiments.datasets.concepts import GeneratedConcepts
from experiments.datasets.synthetic.scenes import Scenes
from experiments.evaluation.unit_labels import EvenSubset, class_f1, unit_metrics
from interpretable_sgd import analysis
from interpretable_sgd.analysis.concepts import ConceptArrays

WHOLE = GeneratedConcepts(Scenes(), "test", 10)


def test_some_of_many():
    some = EvenSubset(WHOLE, 4)
    assert len(some) == 4 and some.table is WHOLE.table
    assert [some.name(i) for i in range(4)] == ["test 0", "test 2", "test 5", "test 7"]
    assert some[2].image.equal(WHOLE[5].image)


def test_all_where_there_are_few():
    assert len(EvenSubset(WHOLE, 99)) == 10 and EvenSubset(WHOLE, 99).name(9) == "test 9"


def test_scores_of_units_that_are_the_concepts():
    masks = torch.rand(40, 3, 8, 8) > 0.9
    layer = nn.Identity()
    concepts = ConceptArrays.of_masks(masks.float(), masks, names=["a", "b", "c"])
    found = analysis.dissect(layer, layer, concepts, quantile=0.2, permutations=0)
    scores = unit_metrics(found)
    assert scores["mean_iou"] == scores["top100_iou"] == 1
    assert (scores["detectors"], scores["unique"], scores["images"]) == (3, 3, 40)
    weight = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert class_f1(weight, found, weight > 0) == 1
    wrong = torch.tensor([[True, False, False], [True, True, False]])
    assert class_f1(weight, found, wrong) == pytest.approx((2 / 3 + 0) / 2)

"""What is measured of a net, on nets whose answer is known."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from experiments.evaluation.judging import (
    Read,
    class_f1,
    decision_numbers,
    head_numbers,
    read,
    unit_numbers,
)
from interpretable_sgd import DynamicLinear, analysis
from interpretable_sgd.analysis.concepts import ConceptArrays

IMAGES = torch.eye(8)
LABELS = torch.arange(8)


def net(head=nn.Linear, **options):
    """Eight units that are the image, and a head that is right."""
    model = nn.Sequential(nn.Identity(), head(8, 8, bias=False, **options))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(8) - 1e-4)
    return model


def test_a_net_is_read_whole_and_left_in_its_mode():
    model = net().train()
    found = read(model, TensorDataset(IMAGES, LABELS))
    assert torch.equal(found.units, IMAGES) and torch.equal(found.labels, LABELS)
    assert torch.allclose(found.logits, model(IMAGES)) and model.training
    assert found.top1 == 1


def test_top_k():
    logits = torch.tensor([[4.0, 3.0, 2.0, 1.0]]).repeat(4, 1)
    found = Read(torch.zeros(4, 0), logits, torch.arange(4))
    assert [found.top(k) for k in (1, 2, 4, 9)] == [0.25, 0.5, 1, 1]


def test_weights_that_are_small_do_not_count():
    assert head_numbers(net()) == {"weights_per_class": 1.0, "sparsity": 7 / 8}


@pytest.mark.parametrize(("head", "options"), [(nn.Linear, {}), (DynamicLinear, {"k": 2})])
def test_a_decision_of_one_unit_survives_pruning_to_one(head, options):
    model = net(head, **options)
    found = decision_numbers(model, read(model, TensorDataset(IMAGES, LABELS)))
    assert found["top1"] == found["top5"] == 1 and found["residual_at_5"] == pytest.approx(0)
    assert found["accuracy_at_weights"]["weights"] == [1, 2, 3, 4, 5, 6, 8]
    assert found["accuracy_at_weights"]["accuracy"] == [1.0] * 7


def test_a_routed_head_is_pruned_as_it_routes():
    """Two weak units outvote a strong one, unless only one may speak; pruning to two leaves that."""
    model = nn.Sequential(nn.Identity(), DynamicLinear(3, 2, bias=False, k=1))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.7, 0.7]]))
    test = read(model, TensorDataset(torch.ones(1, 3), torch.tensor([0])))
    assert decision_numbers(model, test)["accuracy_at_weights"]["accuracy"] == [1, 1, 1]
    model[1] = nn.Linear(3, 2, bias=False).requires_grad_(False)
    model[1].weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.7, 0.7]]))
    test = read(model, TensorDataset(torch.ones(1, 3), torch.tensor([0])))
    assert decision_numbers(model, test)["accuracy_at_weights"]["accuracy"] == [1, 0, 0]


def test_scores_of_units_that_are_the_concepts():
    masks = torch.rand(40, 3, 8, 8) > 0.9
    layer = nn.Identity()
    concepts = ConceptArrays.of_masks(masks.float(), masks, names=["a", "b", "c"])
    found = analysis.dissect(layer, layer, concepts, quantile=0.2, permutations=0)
    scores = unit_numbers(found)
    assert scores["mean_iou"] == scores["top100_iou"] == 1
    assert (scores["detectors"], scores["unique"], scores["images"]) == (3, 3, 40)
    weight = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert class_f1(weight, found, weight > 0) == 1
    wrong = torch.tensor([[True, False, False], [True, True, False]])
    assert class_f1(weight, found, wrong) == pytest.approx((2 / 3 + 0) / 2)

"""What follows from counts, on numbers small enough to check by hand."""

import pytest
import torch

from interpretable_sgd.analysis.concepts import Concept, ConceptTable
from interpretable_sgd.analysis.dissection import scores
from interpretable_sgd.analysis.dissection.result import Dissection

TABLE = ConceptTable(
    (Concept(1, "red-c", "color"), Concept(2, "cat", "object"), Concept(3, "dog", "object"))
)


def dissection(image_set="category", null=(), **changes) -> Dissection:
    """Three units: of "red", of "dog", of nothing."""
    fields = {
        "layer": "maps",
        "table": TABLE,
        "image_set": image_set,
        "quantile": 0.005,
        "thresholds": torch.zeros(3),
        "rank_error": 0.0,
        "intersection": torch.tensor([[6, 1, 0], [0, 2, 4], [0, 0, 0]]),
        "unit_area": {
            "category": torch.tensor([[8, 9], [7, 8], [0, 0]]),
            "touched": torch.tensor([[6, 9], [0, 8], [0, 0]]),
        },
        "label_area": torch.tensor([10, 5, 20]),
        "null": torch.tensor(null, dtype=torch.float64).reshape(-1, 3),
        "images": 4,
    }
    return Dissection(**{**fields, **changes})


def test_iou_under_both_conventions():
    found = dissection()
    assert found.iou["category"][0].tolist() == [6 / 12, 1 / 13, 0]
    assert found.iou["touched"][0].tolist() == [6 / 10, 1 / 13, 0]
    assert found.best[0] == 6 / 12 and dissection("touched").best[0] == 6 / 10


def test_labels_and_detectors():
    found = dissection()
    assert found.label.tolist() == [0, 1, -1]
    assert [found.concept_of(u) for u in range(3)] == ["red", "cat", None]
    assert found.best[1] == 2 / 11
    assert found.detectors().tolist() == [True, True, False]
    assert found.detectors(0.2).tolist() == [True, False, False]
    assert found.detectors(0.0).tolist() == [True, True, False]
    assert found.unique_detectors() == 2 and found.units == 3


def test_units_of_one_label_are_one_unique_detector():
    same = torch.tensor([[6, 1, 0], [6, 1, 0], [0, 0, 0]])
    assert dissection(intersection=same).unique_detectors() == 1


def test_best_of_a_category():
    label, iou = dissection().best_in("object")
    assert label.tolist() == [1, 1, -1] and iou[0] == 1 / 13
    with pytest.raises(ValueError, match=r"category must be one of \('color', 'object'\), got 'x'"):
        dissection().best_in("x")


def test_detectors_reach_the_threshold_itself():
    counts = torch.tensor([[4, 0, 0]] * 3)
    areas = {"category": torch.full((3, 2), 4)}
    found = dissection(intersection=counts, unit_area=areas, label_area=torch.tensor([100, 0, 0]))
    assert found.best[0] == 0.04 and found.detectors().all()


def test_unlabelled_mass():
    found = dissection()
    mass = torch.tensor([1.0, 2.0, 5.0])
    assert found.unlabelled_mass(mass) == 5 / 8
    assert found.unlabelled_mass(mass, below=0.2) == 7 / 8
    assert found.unlabelled_mass(torch.zeros(3)) == 0
    null = [[0.1, 0.3, 0.0]] * 19
    assert dissection(null=null).unlabelled_mass(mass, "null") == 7 / 8
    with pytest.raises(ValueError, match=r"mass must have shape \(3,\), got \(2,\)"):
        found.unlabelled_mass(mass[:2])
    with pytest.raises(ValueError, match=r"mass must not be negative, got -1.0"):
        found.unlabelled_mass(-mass.clamp(max=1))


def test_a_null_is_needed_for_significance():
    found = dissection()
    assert found.p_value.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="permutations must be at least 1 for a null, got 0"):
        found.significant()


def test_unknown_convention():
    with pytest.raises(ValueError, match=r"image_set must be one of .* got 'all'"):
        scores.check_image_set("all")

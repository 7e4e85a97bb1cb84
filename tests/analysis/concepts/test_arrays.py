import pytest
import torch

from interpretable_sgd.analysis.concepts import Concept, ConceptArrays, ConceptTable, numbered

IMAGES = torch.rand(2, 3, 4, 4)


def test_masks_may_overlap():
    masks = torch.zeros(2, 2, 2, 2, dtype=torch.bool)
    masks[0, 0, 0], masks[0, 1, :, 0] = True, True
    concepts = ConceptArrays.of_masks(IMAGES, masks, names=["top", "left"])
    assert [plane.tolist() for plane in concepts[0].labels] == [[[1, 1], [0, 0]], [[2, 0], [2, 0]]]
    assert concepts[1].labels == [] and concepts[1].size == (2, 2)
    assert len(concepts) == 2 and concepts.name(1) == concepts[1].name == "1"


def test_numbers_of_a_table():
    table = ConceptTable((Concept(300, "far", "place"),))
    masks = torch.ones(2, 1, 1, 1, dtype=torch.bool)
    assert ConceptArrays.of_masks(IMAGES, masks, table=table)[0].labels[0].tolist() == [[300]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ConceptArrays(IMAGES[0], torch.zeros(2, 1, 2, 2).long(), numbered("a")),
            r"images must be \(n, channels, h, w\), got \(3, 4, 4\)",
        ),
        (
            lambda: ConceptArrays(IMAGES, torch.zeros(1, 1, 2, 2).long(), numbered("a")),
            r"planes must be \(2, q, sh, sw\), got \(1, 1, 2, 2\)",
        ),
        (
            lambda: ConceptArrays(IMAGES, torch.zeros(2, 1, 2, 2), numbered("a")),
            "planes must hold label numbers, got torch.float32",
        ),
        (
            lambda: ConceptArrays.of_masks(IMAGES, torch.zeros(2, 2, 2, 2).bool(), names=["a"]),
            r"masks must be bool \(n, 1, sh, sw\), got torch.bool of shape \(2, 2, 2, 2\)",
        ),
        (
            lambda: ConceptArrays.of_masks(IMAGES, torch.zeros(2, 1, 2, 2).bool()),
            "exactly one of names and table must be given",
        ),
    ],
)
def test_bad_arrays(call, message):
    with pytest.raises(ValueError, match=message):
        call()

import numpy as np
import pytest
import torch

from interpretable_sgd.analysis.concepts import Concept, ConceptError, ConceptSample, ConceptTable
from interpretable_sgd.analysis.dissection.labels import read_labels

TABLE = ConceptTable(
    (Concept(4, "red", "color"), Concept(400, "arm", "part"), Concept(2, "room", "scene"))
)


def labels_of(*entries, size=(2, 3)):
    return read_labels(ConceptSample(torch.zeros(3, 4, 4), list(entries), size, "a"), TABLE)


def test_a_pixel_holds_a_label_once():
    plane = np.array([[4, 4, 0], [0, 400, 0]])
    found = labels_of(plane, plane, np.array([[0, 4, 0], [4, 4, 0]]))
    assert found.area.tolist() == [4, 1, 0]
    assert found.present.tolist() == [True, True, False]


def test_a_whole_image_label_covers_its_pixels_once():
    found = labels_of(2, 4, 4, np.array([[4, 400, 0], [2, 2, 2]]))
    assert found.area.tolist() == [6, 1, 6]
    assert found.whole.tolist() == [0, 2]


@pytest.mark.parametrize("entries", [(), (np.zeros((2, 3), dtype=np.uint8),), (0,)])
def test_nothing_labelled(entries):
    found = labels_of(*entries)
    assert found.area.tolist() == [0, 0, 0]
    assert not found.present.any() and not len(found.planes) and not len(found.whole)


def test_large_tables_need_wide_planes():
    table = ConceptTable(tuple(Concept(n, str(n), "object") for n in range(1, 2**15 + 2)))
    plane = np.array([[2**15 + 1]])
    found = read_labels(ConceptSample(torch.zeros(3, 1, 1), [plane], (1, 1), "a"), table)
    assert found.area.nonzero()[0].tolist() == [2**15]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((np.zeros((3, 2), dtype=int),), r"label planes must have shape \(2, 3\), got \(3, 2\)"),
        ((np.full((2, 3), 5),), "label 5 must be a number of the table, and is not"),
        ((401,), "label 401 must be a number of the table, and is not"),
        ((-1,), "label -1 must be a number of the table, and is not"),
    ],
)
def test_bad_labels(entries, message):
    with pytest.raises(ConceptError, match=message):
        labels_of(*entries)

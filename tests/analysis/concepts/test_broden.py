import csv

import numpy as np
import pytest
import torch

from interpretable_sgd.analysis.concepts import Broden, ConceptError
from tests.analysis.concepts.files import CATEGORIES, write_broden, write_table

pytest.importorskip("PIL")


@pytest.fixture
def root(tmp_path):
    write_broden(tmp_path)
    return tmp_path


def test_reads_planes_and_whole_image_labels(root):
    sample = Broden(root)[0]
    planes = [entry.tolist() for entry in sample.labels if np.ndim(entry)]
    assert planes == [
        [[1, 1, 0], [1, 1, 1]],
        [[700, 700, 3], [0, 0, 0]],
        [[4, 4, 0], [0, 0, 0]],
        [[0, 4, 257], [0, 0, 0]],
    ]
    assert [entry for entry in sample.labels if not np.ndim(entry)] == [6, 8, 9]
    assert sample.size == (2, 3) and sample.name == "x/a.jpg"
    assert sample.image.shape == (3, 8, 8) and sample.image.dtype == torch.uint8


def test_grey_and_cmyk_images_become_colours(root):
    for index in (2, 3):
        assert Broden(root)[index].image.shape == (3, 8, 8)
    grey = Broden(root)[2].image
    assert torch.equal(grey[0], grey[1])


def test_images_without_labels(root):
    broden = Broden(root)
    assert broden[1].labels == []
    assert [plane.any() for plane in broden[2].labels] == [False]


def test_names_and_categories(root):
    broden = Broden(root)
    by_number = {concept.number: concept for concept in broden.table.concepts}
    assert by_number[6].title == "bakery-shop" and by_number[6].category == "scene"
    assert by_number[257].category == "part"


def test_a_label_of_several_categories_is_of_the_largest_coverage(root):
    wood = Broden(root).table.concepts[-1]
    assert wood.name == "wood" and wood.category == "material"
    # without coverage, the larger number of images decides
    (root / "c_object.csv").unlink()
    assert Broden(root).table.concepts[-1].category == "object"


def test_split(root):
    assert len(Broden(root)) == 7
    assert [Broden(root, "val").name(i) for i in range(len(Broden(root, "val")))] == ["x/val.jpg"]
    with pytest.raises(ValueError, match=r"index.csv must list images of split 'test', got none"):
        Broden(root, "test")


def test_corrupt_files_say_which(root):
    broden = Broden(root)
    with pytest.raises(ConceptError, match=r"(?i)cut.jpg cannot be read: .*truncated"):
        broden[4]
    with pytest.raises(ConceptError, match=r"gone.png cannot be read: .*No such file"):
        broden[5]


def test_a_size_that_is_no_number(root):
    rows = list(csv.DictReader((root / "index.csv").open()))
    rows[1]["sh"] = "?"
    write_table(root / "index.csv", rows)
    with pytest.raises(ConceptError, match="sh and sw must be whole numbers, got '\\?' and '3'"):
        Broden(root)[1]


@pytest.mark.parametrize("missing", ["index.csv", "label.csv", "category.csv"])
def test_missing_tables(root, missing):
    (root / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"{missing} must exist"):
        Broden(root)


def test_a_missing_column(root):
    write_table(root / "index.csv", [{"image": "x/a.jpg", "sh": 2, "sw": 3}])
    with pytest.raises(ValueError, match=r"index.csv must have the columns .* lacks \['color'"):
        Broden(root)


def test_no_images(root):
    write_table(root / "index.csv", [], ["image", "sh", "sw", *CATEGORIES])
    with pytest.raises(ValueError, match=r"index.csv must list images, got none"):
        Broden(root)


def test_a_category_that_is_not_listed(root):
    write_table(root / "label.csv", [{"number": 1, "name": "red", "category": "colour(2)"}])
    with pytest.raises(
        ValueError, match=r"category of label 1 must be among .*, got 'colour\(2\)'"
    ):
        Broden(root)

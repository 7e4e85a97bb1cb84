import numpy as np
import pytest

from interpretable_sgd.analysis.concepts import Concept, ConceptTable, numbered


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("bakery-shop-s", "bakery-shop"),
        ("t-shirt-s-c", "t-shirt-s"),
        ("x-ray", "x-ray"),
        ("red-c", "red"),
        ("s", "s"),
    ],
)
def test_suffixes_go_at_the_end_only(name, title):
    assert Concept(1, name, "scene").title == title


def test_categories_keep_their_order():
    table = ConceptTable(
        (Concept(9, "a", "scene"), Concept(2, "b", "color"), Concept(3, "c", "scene"))
    )
    assert table.categories == ("scene", "color")
    assert table.category_index.tolist() == [0, 1, 0]
    assert table.names == ["a", "b", "c"]


def test_numbers_of_bytes_do_not_overflow():
    table = numbered(str(n) for n in range(1, 301))
    assert table.positions(np.array([255, 0], dtype=np.uint8)).tolist() == [254, -1]


@pytest.mark.parametrize("number", [-1, 4, 1000])
def test_a_number_that_the_table_lacks(number):
    with pytest.raises(ValueError, match=f"label {number} must be a number of the table"):
        numbered("abc").positions(np.array([1, number]))


def test_bad_tables():
    with pytest.raises(ValueError, match=r"number of a concept must be at least 1 .* got 0"):
        Concept(0, "nothing", "object")
    with pytest.raises(ValueError, match="concepts must name at least one label, got none"):
        ConceptTable(())
    with pytest.raises(ValueError, match="concepts must have distinct numbers, got 2 twice"):
        ConceptTable((Concept(2, "a", "x"), Concept(1, "b", "x"), Concept(2, "c", "x")))

"""Names as sequences and as mappings in either direction, and what is none."""

import pytest
import torch

from interpretable_sgd.analysis.names import checked_names, class_titles, in_words, unit_titles


@pytest.mark.parametrize(
    "names",
    [
        ["cat", "dog"],
        ("cat", "dog"),
        {0: "cat", 1: "dog"},
        {1: "dog", 0: "cat"},  # id2label
        {"1": "dog", "0": "cat"},  # id2label of a JSON file
        {"dog": 1, "cat": 0},  # class_to_idx
    ],
)
def test_names_come_in_the_order_of_their_numbers(names):
    assert checked_names("class_names", names, 2) == ("cat", "dog")


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("ab", TypeError, "class_names must be a sequence of names, got the string 'ab'"),
        (3, TypeError, "class_names must be a sequence of names, got int"),
        (["a"], ValueError, "class_names must be 2 names, got 1"),
        ({"a": 0}, ValueError, "class_names must be 2 names, got 1"),
        ({"a": 1, "b": 2}, ValueError, "must number its names 0, 1, ..., 0 is missing"),
        ({"a": "b", "c": "d"}, TypeError, "must map numbers to names or names to numbers"),
    ],
)
def test_names_that_are_none(names, error, message):
    with pytest.raises(error, match=message):
        checked_names("class_names", names, 2)


def test_one_output_has_two_classes_and_one_or_two_names():
    assert class_titles(None, 1) == ("0", "1")
    assert class_titles(["ill"], 1) == ("not ill", "ill")
    assert class_titles(["well", "ill"], 1) == ("well", "ill")


def test_units_that_are_the_inputs_have_their_names():
    x = torch.rand(3, 2)
    assert unit_titles(None, ["age", "height"], x, x) == ("age", "height")
    assert unit_titles(None, ["age", "height"], 2 * x, x) is None
    assert unit_titles(["a", "b"], ["age", "height"], x, x) == ("a", "b")
    with pytest.raises(ValueError, match="unit_names must be 2 names, got 1"):
        unit_titles(["a"], None, x, x)


def test_an_input_in_words():
    assert in_words(torch.tensor([0.0, -3.0, 1.5]), ["a", "b", "c"]) == "b -3, c 1.5"
    vocabulary = {"hello": 1, "world": 0}
    assert in_words({"ids": torch.tensor([1, 0, 7])}, vocabulary) == "hello world [7]"
    assert in_words(torch.tensor([1, 2]), lambda ids: f"{len(ids)} tokens") == "2 tokens"
    assert in_words(torch.rand(3, 4, 4), ["a"]) is None and in_words(torch.rand(3), None) is None

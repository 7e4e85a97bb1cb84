"""Pairs of classes that are confused, and what tells them apart."""

import pytest
import torch

from interpretable_sgd.analysis import contrast
from interpretable_sgd.analysis.confusions import confused_pairs, contrasts


def test_contrasts_need_two_classes():
    with pytest.raises(ValueError, match="first and second must be two classes, got 1 twice"):
        contrast(torch.eye(3), 1, 1)


def test_pairs_count_both_directions():
    labels, predicted = torch.tensor([0, 1, 1, 2, 2]), torch.tensor([1, 0, 2, 2, 0])
    assert confused_pairs(labels, predicted, 2) == [(0, 1, 2), (0, 2, 1)]
    assert confused_pairs(labels, labels, 2) == []


def test_a_study_contrasts_the_most_confused_and_no_more():
    labels, predicted = torch.tensor([0, 1, 1, 2, 2]), torch.tensor([1, 0, 2, 2, 0])
    weight = torch.tensor([[1.0, 0.5, 0.0], [0.0, -1.0, 0.0], [1.0, 0.0, 2.0]])
    (found,) = contrasts(weight, labels, predicted, top=2, count=1)
    assert (found.first, found.second, found.confused) == (0, 1, 2)
    assert found.shared == ((1, 0.5, -1.0),)
    assert found.only_first == ((0, 1.0),) and found.only_second == ()

"""Scores before and after a change."""

import pytest
import torch

from interpretable_sgd.analysis.effects import Subjects, effect, grouped

NONE = torch.empty(0).long()


def test_groups_are_numbered_in_their_order():
    numbers, names = grouped([10, 2, 10], 3)
    assert numbers.tolist() == [1, 0, 1] and names == ("2", "10")
    assert grouped(torch.tensor([1, 0]), 2)[0].tolist() == [1, 0]
    assert grouped(None, 2)[1] == ()
    with pytest.raises(ValueError, match="groups must be 3, one for each image, got 2"):
        grouped([0, 1], 3)


def test_scores_of_single_labels():
    subjects = Subjects(
        torch.tensor([0, 0, 1]), ("a", "b", "c"), torch.tensor([0, 1, 1]), ("x", "y")
    )
    before = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]])
    after = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0, 1]])
    found = effect("change", subjects, before, after)
    assert found.before.overall == pytest.approx(2 / 3) and found.change == pytest.approx(0)
    assert found.before.by_class.tolist()[:2] == [0.5, 1] and found.after.by_class[0] == 1
    assert found.before.by_class[2].isnan()
    assert found.before.by_group.tolist() == [1, 0.5] and found.worst_group == (0.5, 0.5)
    assert found.flipped.tolist() == [1, 2] and (found.gained, found.lost) == (1, 1)


def test_scores_of_sets():
    labels = torch.tensor([[True, False], [True, True]])
    before = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
    after = torch.tensor([[1.0, -1.0], [-1.0, -1.0]])
    found = effect("change", Subjects(labels, ("a", "b"), NONE, ()), before, after)
    assert found.before.overall == 0.5 and found.after.overall == 0.5
    assert found.before.by_class.tolist() == [0.5, 1] and found.after.by_class.tolist() == [0.5, 0]
    assert found.flipped.tolist() == [0, 1] and (found.gained, found.lost) == (1, 1)
    assert all(value != value for value in found.worst_group)

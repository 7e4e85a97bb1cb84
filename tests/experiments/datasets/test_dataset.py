"""Samples in memory and transformed; what is held out is balanced, disjoint from what stays, the same for every run."""

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from experiments.datasets.dataset import Augmented, InMemory, collate, even_subset, hold_out, usual

LABELS = np.random.default_rng(0).integers(0, 7, 500)


@pytest.mark.parametrize("each", [1, 5, 30])
def test_as_many_of_each_class(each):
    stay, held = hold_out(LABELS, each)
    assert (np.bincount(LABELS[held]) == each).all()
    assert np.array_equal(np.sort(np.concatenate([stay, held])), np.arange(500))


def test_none_held_out_keeps_all():
    stay, held = hold_out(LABELS, 0)
    assert np.array_equal(stay, np.arange(500)) and len(held) == 0


def test_the_same_however_labels_come():
    assert np.array_equal(hold_out(LABELS.tolist(), 3)[1], hold_out(LABELS, 3)[1])


def test_fewer_are_among_more():
    assert set(hold_out(LABELS, 3)[1]) < set(hold_out(LABELS, 9)[1])


def test_is_no_regular_pattern():
    """Of 10,000 sorted by class, held out ones are spread evenly: n = 1000, 4 standard errors."""
    _, held = hold_out(np.repeat(np.arange(10), 1000), 100)
    within = held % 1000
    assert abs(within.mean() - 499.5) < 4 * 1000 / np.sqrt(12 * 1000)
    assert len(np.unique(within)) > 500


def test_usual_is_a_fifth_and_bounded():
    assert [usual([0] * n, 500) for n in (4, 5, 99, 2500, 9999)] == [0, 1, 19, 500, 500]


@pytest.mark.parametrize("each", [-1, 3, 4])
def test_a_class_must_keep_some(each):
    said = (
        rf"hold_out must be at least 0 and less than the 3 images of the smallest class, got {each}"
    )
    with pytest.raises(ValueError, match=said):
        hold_out([0, 0, 0, 1, 1, 1, 1], each)


def test_a_batch_in_memory_is_the_samples_one_by_one():
    data = InMemory(torch.arange(12.0).view(6, 2), torch.arange(6))
    keys = [(0, 4), (0, 1)]
    at_once = Augmented(data, None, seed=0).__getitems__(keys)
    one_by_one = Augmented(data, lambda x: x, seed=0).__getitems__(keys)
    for ours, theirs in zip(collate(at_once), collate(one_by_one), strict=True):
        assert torch.equal(ours, theirs) and ours.dtype == theirs.dtype


def test_some_images_show_all_classes_whatever_their_order():
    """100 of 800: of eight classes that take turns 12.5 each on average; never fewer than 5 here."""
    turns = TensorDataset(torch.zeros(800), torch.arange(800) % 8)
    sorted_ = TensorDataset(torch.zeros(800), torch.arange(800) // 100)
    for data in (turns, sorted_):
        labels = torch.tensor([int(y) for _, y in even_subset(data, 100)])
        counts = torch.bincount(labels, minlength=8)
        assert counts.sum() == 100 and counts.min() >= 5
    assert even_subset(turns, 100).indices == even_subset(turns, 100).indices
    assert len(even_subset(turns, 9999)) == 800

"""Figures of classes: limits, and literal loops."""

import math

import pytest
import torch

from interpretable_sgd.analysis.sparsity import (
    at_most,
    dead_units,
    labels_per_class,
    readers,
    shared_units,
    sparsity,
    units_per_class,
    usage_entropy,
    weights_per_class,
)


@pytest.fixture
def weight():
    weight = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    return weight * (torch.rand(6, 20, generator=torch.Generator().manual_seed(1)) < 0.3)


def test_the_threshold_itself_is_a_weight():
    row = torch.tensor([[1e-3, -2.0, 0.0, 9e-4, -1e-3]])
    assert weights_per_class(row).tolist() == [3]
    assert sparsity(row) == 2 / 5
    assert readers(row).tolist() == [1, 1, 0, 0, 1]


def test_sparsity_and_weights_per_class_are_the_same_count(weight):
    mean = weights_per_class(weight).double().mean().item()
    assert mean == pytest.approx(20 * (1 - sparsity(weight)))
    assert weights_per_class(weight).sum() == readers(weight).sum()


def test_labels_per_class_of_a_literal_loop(weight):
    labels = torch.randint(-1, 4, (20,), generator=torch.Generator().manual_seed(2))
    expected = []
    for row in weight.tolist():
        read = [m for m in range(20) if abs(row[m]) >= 1e-3]
        # a unit without a label stands for itself
        expected.append(len({int(labels[m]) if labels[m] >= 0 else ("unit", m) for m in read}))
    assert labels_per_class(weight, labels).tolist() == expected


def test_labels_that_are_all_different_or_none_are_weights(weight):
    own, none = torch.arange(20), torch.full((20,), -1)
    for labels in (own, none):
        assert torch.equal(labels_per_class(weight, labels), weights_per_class(weight))
    one = labels_per_class(weight, torch.zeros(20, dtype=torch.long))
    assert torch.equal(one, (weights_per_class(weight) > 0).long())


def test_units_per_class_counts_the_bias_into_the_score():
    parts = torch.tensor([[5.0, 3.0, 2.0], [5.0, 3.0, 2.0], [1.0, -2.0, 0.0], [torch.nan] * 3])
    bias = torch.tensor([0.0, 10.0, 0.0, 0.0])
    reach = units_per_class(parts, bias, 0.8)
    assert reach[:2].tolist() == [2, math.inf] and reach[2:].isnan().all()
    assert units_per_class(parts, torch.tensor([-2.0, 0, 0, 0]), 1.0)[0] == 2


def test_the_share_of_classes_leaves_out_those_without_images():
    assert at_most(torch.tensor([1, 5, 6, 7])) == 0.5
    assert at_most(torch.tensor([1.0, torch.nan]), 1) == 1.0


def test_dead_and_shared_units():
    weight = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0]])
    activity = torch.tensor([1.0, 0.5, 0.5, 0.0])
    assert dead_units(weight, activity).tolist() == [False, False, True, True]
    assert shared_units(weight).tolist() == [True, False, False, False]


def test_usage_entropy_of_even_single_and_no_use():
    assert usage_entropy(torch.full((7,), 3.0)) == pytest.approx(1)
    assert usage_entropy(torch.tensor([0.0, 2.0, 0.0])) == 0
    assert usage_entropy(torch.tensor([2.0])) == 1
    assert math.isnan(usage_entropy(torch.zeros(3)))
    assert usage_entropy(torch.tensor([1, 1, 2])) == pytest.approx(1.5 / math.log2(3))


def test_arguments_are_checked(weight):
    with pytest.raises(ValueError, match=r"labels must be one per unit, \(20,\), got \(6,\)"):
        labels_per_class(weight, torch.zeros(6))
    with pytest.raises(ValueError, match=r"usage must not be negative, got -1\.0"):
        usage_entropy(torch.tensor([1.0, -1.0]))

"""Digits: a deterministic, stratified partition."""

import pytest
import torch

from experiments.datasets.digits import Digits

SPLITS = ("train", "validation", "test")


def test_the_splits_partition_the_set():
    images = torch.cat([Digits().tensors(split)[0] for split in SPLITS])
    assert images.shape == (1797, 1, 8, 8) and images.dtype == torch.float32
    assert images.min() == 0 and images.max() == 1
    whole = torch.cat([Digits(seed=1).tensors(split)[0] for split in SPLITS])
    assert torch.equal(images.unique(dim=0), whole.unique(dim=0))


def test_every_class_has_its_share_of_every_split():
    counts = torch.stack([Digits().tensors(split)[1].bincount() for split in SPLITS])
    shares = counts / counts.sum(0)
    assert (shares - torch.tensor([[0.6], [0.2], [0.2]])).abs().max() < 0.006


def test_same_seed_same_split_and_seeds_differ():
    first, again, other = (Digits(seed).tensors("train") for seed in (0, 0, 1))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        Digits(seed=-1)
    with pytest.raises(ValueError, match=r"split must be one of .*, got 'dev'"):
        Digits().tensors("dev")

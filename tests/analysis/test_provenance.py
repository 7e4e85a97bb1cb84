"""Hashes that change with the data, and with nothing else; values that JSON knows."""

from pathlib import Path

import numpy as np
import torch

from interpretable_sgd.analysis.provenance import Watched, canonical, plain


def digest(images, labels, batch):
    watched = Watched(list(zip(images.split(batch), labels.split(batch), strict=True)))
    list(watched)
    return watched.hash


def test_the_hash_is_of_images_labels_and_order():
    images, labels = torch.rand(6, 1, 2, 2), torch.arange(6)
    own = digest(images, labels, 4)
    assert own == digest(images, labels, 1) == digest(images.clone(), labels.int(), 6)
    assert own != digest(images.roll(1, 0), labels, 4)
    assert own != digest(images, labels.roll(1), 4)
    assert own != digest(images.double(), labels, 4)
    assert own != digest(images.reshape(6, 1, 4, 1), labels, 4)


def test_wanted_images_are_kept_and_a_second_pass_starts_anew():
    images, labels = torch.rand(6, 1, 2, 2), torch.arange(6)
    watched = Watched(list(zip(images.split(4), labels.split(4), strict=True)), wanted={0, 5})
    for _ in range(2):
        list(watched)
    assert watched.hash == digest(images, labels, 4)
    assert set(watched.kept) == {0, 5}
    image, label = watched.kept[5]
    assert torch.equal(image, images[5]) and label == 5


def test_what_json_does_not_know():
    value = {1: np.float32(0.5), "p": Path("a"), "s": (torch.tensor(2), np.int64(3)), "n": [np.nan]}
    assert plain(value) == {"1": 0.5, "p": "a", "s": [2, 3], "n": [None]}
    assert canonical({"b": 1, "a": float("inf")}) == '{"a":null,"b":1}'

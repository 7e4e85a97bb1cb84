"""A hash of a model that changes with it, and values that JSON knows."""

import copy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from interpretable_sgd.analysis.provenance import canonical, fingerprint, plain


def test_what_json_does_not_know():
    value = {1: np.float32(0.5), "p": Path("a"), "s": (torch.tensor(2), np.int64(3)), "n": [np.nan]}
    assert plain(value) == {"1": 0.5, "p": "a", "s": [2, 3], "n": [None]}
    assert canonical({"b": 1, "a": float("inf")}) == '{"a":null,"b":1}'


def test_a_fingerprint_is_of_every_bit_of_parameters_and_buffers():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).bfloat16()
    before = fingerprint(model)
    assert fingerprint(copy.deepcopy(model)) == before
    for change in (
        lambda m: m[0].bias.data[0].neg_(),
        lambda m: m[1].running_mean.add_(1),
        lambda m: m[1].num_batches_tracked.add_(1),
        lambda m: m.float(),
    ):
        twin = copy.deepcopy(model)
        change(twin)
        assert fingerprint(twin) != before


def test_a_fingerprint_is_of_layers_and_of_buffers_that_are_not_saved():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    before = fingerprint(model)
    assert fingerprint(nn.Sequential(model[0], nn.Tanh())) != before
    model.register_buffer("scale", torch.ones(2), persistent=False)
    scaled = fingerprint(model)
    model.scale.mul_(2)
    assert before != scaled != fingerprint(model)

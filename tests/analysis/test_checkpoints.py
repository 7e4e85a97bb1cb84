"""States survive, belong to one owner, and a write that fails leaves the one before."""

import copy

import pytest
import torch
from torch import nn

from interpretable_sgd.analysis import checkpoints


def test_a_state_comes_back_for_its_owner_only(tmp_path):
    path = tmp_path / "new" / "pass.pt"
    assert checkpoints.load(None, {}) is None and checkpoints.load(path, {}) is None
    checkpoints.save({"model": "a", "sums": torch.arange(3)}, path)
    state = checkpoints.load(path, {"model": "a"})
    assert state is not None and state["sums"].tolist() == [0, 1, 2]
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(ValueError, match="must be of model 'b', got 'a': remove it to start anew"):
        checkpoints.load(path, {"model": "b"})


def test_a_write_that_fails_leaves_the_state_before(tmp_path, monkeypatch):
    path = tmp_path / "pass.pt"
    checkpoints.save({"step": 1}, path)

    def fail(state, partial):
        partial.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.save({"step": 2}, path)
    assert checkpoints.load(path, {}) == {"step": 1}


def test_a_fingerprint_is_of_every_bit_of_parameters_and_buffers():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).bfloat16()
    before = checkpoints.fingerprint(model)
    assert checkpoints.fingerprint(copy.deepcopy(model)) == before
    for change in (
        lambda m: m[0].bias.data[0].neg_(),
        lambda m: m[1].running_mean.add_(1),
        lambda m: m[1].num_batches_tracked.add_(1),
        lambda m: m.float(),
    ):
        twin = copy.deepcopy(model)
        change(twin)
        assert checkpoints.fingerprint(twin) != before

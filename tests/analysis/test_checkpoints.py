"""States survive, belong to one owner, and a write that fails leaves the one before."""

import pytest
import torch

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
    assert checkpoints.load(path, {}) == {"step": 1, "format": checkpoints.FORMAT}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "pass.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint .*pass.pt cannot be read, remove it"):
        checkpoints.load(tmp_path / "pass.pt", {})


def test_a_state_of_an_older_format_is_refused(tmp_path):
    torch.save({"model": "a"}, tmp_path / "pass.pt")
    with pytest.raises(ValueError, match="must be of format 2, got None: remove it to start anew"):
        checkpoints.load(tmp_path / "pass.pt", {"model": "a"})

"""Checkpoints: checked before they are trusted, and never lost to a full disk."""

import errno
import json
import os

import pytest
import torch

from experiments.training import checkpoints
from experiments.training.checkpoints import CheckpointError, Snapshot
from tests.experiments.training.victim import training


def snapshot(step: int = 3) -> Snapshot:
    weights = {"w": torch.arange(4.0).view(2, 2), "n": torch.tensor(5)}
    return Snapshot(step, weights, {"lr": 0.1, "random": (1, [2, None])}, {"data": "scenes"})


def test_what_is_saved_is_loaded(tmp_path):
    saved = snapshot()
    found = checkpoints.load(checkpoints.save(tmp_path, saved))
    assert all(torch.equal(found.weights[k], v) for k, v in saved.weights.items())
    assert (found.step, found.state, found.config) == (3, saved.state, saved.config)


def test_weights_of_any_memory_format_are_saved(tmp_path):
    weight = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)
    place = checkpoints.save(tmp_path, Snapshot(1, {"w": weight}, {}, {}))
    assert torch.equal(checkpoints.load(place).weights["w"], weight)


def test_the_newest_are_kept(tmp_path):
    for step in (3, 20, 100, 7):
        checkpoints.save(tmp_path, snapshot(step))
    assert [place.name for place in checkpoints.listed(tmp_path)] == [
        "step-000000100",
        "step-000000020",
    ]
    assert checkpoints.latest(tmp_path).step == 100


def test_no_checkpoint_is_no_error(tmp_path):
    assert checkpoints.latest(tmp_path / "nowhere") is None


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = [
    (truncate, checkpoints.WEIGHTS, "model.safetensors must have .* bytes, got"),
    (truncate, checkpoints.STATE, "state.pt must have .* bytes, got"),
    (truncate, checkpoints.MANIFEST, "manifest.json must be JSON with a hash, got"),
    (flip, checkpoints.WEIGHTS, "model.safetensors must have SHA-256 .*, got"),
    (flip, checkpoints.STATE, "state.pt must have SHA-256 .*, got"),
    (lambda path: path.unlink(), checkpoints.STATE, "must hold state.pt: No such file"),
]


@pytest.mark.parametrize(("damage", "name", "message"), DAMAGE)
def test_damage_is_named_and_the_checkpoint_before_is_used(tmp_path, damage, name, message):
    checkpoints.save(tmp_path, snapshot(3))
    place = checkpoints.save(tmp_path, snapshot(6))
    damage(place / name)
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load(place)
    with pytest.warns(UserWarning, match=f"{message}.*; going on from step-000000003"):
        assert checkpoints.latest(tmp_path).step == 3
    assert checkpoints.save(tmp_path, snapshot(6)) == place
    assert checkpoints.latest(tmp_path).step == 6


def test_a_changed_manifest_is_found(tmp_path):
    place = checkpoints.save(tmp_path, snapshot())
    manifest = json.loads((place / checkpoints.MANIFEST).read_text())
    manifest["config"]["data"] = "digits"
    (place / checkpoints.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"manifest\.json must have the hash"):
        checkpoints.load(place)


def test_a_run_without_an_intact_checkpoint_does_not_start_anew(tmp_path):
    truncate(checkpoints.save(tmp_path, snapshot()) / checkpoints.STATE)
    with pytest.raises(
        CheckpointError, match=r"no checkpoint in .* is intact .*state.pt.* start anew"
    ):
        checkpoints.latest(tmp_path)


@pytest.mark.parametrize("files_before", range(4))
def test_a_full_disk_costs_nothing_that_was_saved(tmp_path, monkeypatch, files_before):
    checkpoints.save(tmp_path, snapshot(3))
    real, written = os.fsync, []

    def fsync(handle):
        if len(written) == files_before:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(handle)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    message = (
        "cannot write checkpoint .*step-000000006: No space left .*step-000000003 is as it was"
    )
    with pytest.raises(CheckpointError, match=message):
        checkpoints.save(tmp_path, snapshot(6))
    monkeypatch.undo()
    assert [place.name for place in tmp_path.iterdir()] == ["step-000000003"]
    assert checkpoints.latest(tmp_path).step == 3
    checkpoints.save(tmp_path, snapshot(6))
    assert checkpoints.latest(tmp_path).step == 6


def test_a_full_disk_before_the_first_checkpoint(tmp_path, monkeypatch):
    def fsync(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CheckpointError, match="No space left on device; there is no earlier one"):
        checkpoints.save(tmp_path, snapshot())


def test_state_that_would_run_code_is_not_loaded(tmp_path):
    place = checkpoints.save(tmp_path, Snapshot(1, {}, {"path": tmp_path}, {}))
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        checkpoints.load(place)


def test_a_checkpoint_of_another_model(tmp_path):
    saved = training(hidden=16).snapshot()
    other = training(hidden=20)
    before = {k: v.clone() for k, v in other.model.state_dict().items()}
    with pytest.raises(
        CheckpointError,
        match=r"of another model: 0.weight has shape \(16, 12\), the model's has \(20, 12\).*more",
    ):
        other.load(saved)
    assert other.step == 0
    assert all(torch.equal(v, before[k]) for k, v in other.model.state_dict().items())


def test_missing_and_unknown_weights():
    one = {"a": torch.ones(1)}
    two = {"b": torch.ones(1)}
    with pytest.raises(CheckpointError, match="it lacks b; the model has no a"):
        checkpoints.check_weights(one, two)
    checkpoints.check_weights(one, one)


def test_a_checkpoint_of_another_recipe():
    saved = training().snapshot()
    with pytest.raises(
        CheckpointError, match=r"of another run: recipe .*'ema': 0.9.*now.*'ema': None"
    ):
        training(ema=None).load(saved)
    training(checkpoint_every=17).load(saved)

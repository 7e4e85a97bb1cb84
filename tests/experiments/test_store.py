"""What was saved is what is loaded; what is not finished, or not to be trusted, is not a run."""

import json
import os

import numpy as np
import pytest
import torch

from experiments import store

CONFIG = {
    "model": "resnet18",
    "method": "SGD",
    "data": "scenes",
    "scale": "tiny",
    "seed": 0,
    "lr": 0.1,
}


def save(out, accuracy=0.5, **config):
    arrays = {"weight": np.eye(2, dtype=np.float32)}
    weights = {"fc.weight": torch.eye(3)[:, :2].T}
    return store.save(out, CONFIG | config, {"accuracy": accuracy}, arrays, weights)


def test_what_was_saved_is_loaded(tmp_path):
    saved = save(tmp_path)
    (loaded,) = store.load(tmp_path)
    assert loaded == saved == store.find(tmp_path, CONFIG)
    assert (
        loaded["accuracy"] == 0.5 and loaded["model"] == "resnet18" and loaded["config"] == CONFIG
    )
    assert np.array_equal(loaded.arrays["weight"], np.eye(2))
    assert torch.equal(loaded.weights()["fc.weight"], torch.eye(3)[:, :2].T)


def test_another_configuration_is_another_run(tmp_path):
    save(tmp_path)
    assert store.find(tmp_path, CONFIG | {"lr": 0.2}) is None
    assert store.find(tmp_path, CONFIG | {"seed": 1}) is None


def test_of_one_label_the_run_written_last_is_loaded(tmp_path):
    new = save(tmp_path, accuracy=0.7, lr=0.2)
    old = save(tmp_path)
    os.utime(old.folder / store.RECORD, (0, 0))
    save(tmp_path, seed=1)
    assert [run["accuracy"] for run in store.load(tmp_path)] == [0.7, 0.5]
    assert store.load(tmp_path)[0].folder == new.folder != old.folder


def test_a_run_counts_from_its_record_on(tmp_path):
    run = save(tmp_path)
    (run.folder / store.RECORD).unlink()
    assert store.load(tmp_path) == [] and store.find(tmp_path, CONFIG) is None
    assert store.load(tmp_path / "nowhere") == []


def test_checkpoints_go_when_the_run_is_saved(tmp_path):
    checkpoints = store.folder(tmp_path, CONFIG) / store.CHECKPOINTS
    checkpoints.mkdir(parents=True)
    (checkpoints / "step").write_text("")
    run = save(tmp_path)
    assert sorted(path.name for path in run.folder.iterdir()) == [
        store.ARRAYS,
        store.RECORD,
        store.WEIGHTS,
    ]


def test_a_damaged_record_is_said(tmp_path):
    path = save(tmp_path).folder / store.RECORD
    content = path.read_text()
    path.write_text(content.replace('"lr": 0.1', '"lr": 0.2'))
    with pytest.raises(store.StoreError, match="its hash is of another configuration; remove"):
        store.load(tmp_path)
    path.write_text(content[:40])
    with pytest.raises(
        store.StoreError, match=r"record\.json must be the record of a finished run"
    ):
        store.find(tmp_path, CONFIG)


def test_a_run_without_its_weights_does_not_count(tmp_path):
    (save(tmp_path).folder / store.WEIGHTS).unlink()
    with pytest.raises(store.StoreError, match="its weights are gone"):
        store.find(tmp_path, CONFIG)


def test_equal_values_have_equal_hashes():
    assert store.digest({"a": 1, "b": [2.5]}) == store.digest({"b": (2.5,), "a": 1})
    assert store.digest({"a": 1}) != store.digest({"a": 2})


def test_nan_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        store.canonical({"a": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        store.write_json(tmp_path / "x.json", float("nan"))
    assert not (tmp_path / "x.json").exists()


def test_a_list_of_records_has_a_line_for_each(tmp_path):
    store.write_lines(tmp_path / "x.json", [{"b": 1, "a": 2}, {}])
    assert (tmp_path / "x.json").read_text() == '[\n{"a":2,"b":1},\n{}\n]\n'
    assert json.loads((tmp_path / "x.json").read_text()) == [{"a": 2, "b": 1}, {}]


def test_versions_name_what_shapes_a_result():
    assert {"python", "torch", "numpy", "interpretable-sgd"} <= set(store.versions())

"""Results on disk: canonical, hashed, found again, compared in pairs."""

import json

import numpy as np
import pytest
import torch

from experiments import results


def config(optimizer="SGD", seed=0, data="scenes", **more):
    return {"data": data, "optimizer": {"name": optimizer}, "seed": seed, **more}


def record(accuracy, **of):
    return {"test_accuracy": accuracy, "config": config(**of)}


def test_equal_values_have_equal_hashes():
    assert results.digest({"a": 1, "b": [2.5]}) == results.digest({"b": (2.5,), "a": 1})
    assert results.digest({"a": 1}) != results.digest({"a": 2})


def test_nan_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        results.canonical({"a": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        results.write_json(tmp_path / "x.json", float("nan"))
    assert not (tmp_path / "x.json").exists()


def test_a_stored_run_is_found_by_its_configuration_alone(tmp_path):
    own = config(epochs=3)
    state = {"fc.weight": torch.arange(3.0)}
    kept = results.store(tmp_path, own, {"value": 0.1}, {"weight": np.arange(4.0)}, state)
    assert results.stored(tmp_path, own) == kept
    assert results.stored(tmp_path, config(epochs=4)) is None
    assert np.array_equal(results.arrays(tmp_path, kept)["weight"], np.arange(4.0))
    assert torch.equal(results.weights(tmp_path, kept)["fc.weight"], state["fc.weight"])
    assert kept["hash"] == results.digest(own)


@pytest.mark.parametrize("lost", ["record.json", results.WEIGHTS])
def test_a_run_without_its_record_or_weights_does_not_count(tmp_path, lost):
    own = config()
    results.store(tmp_path, own, {}, {"weight": np.zeros(1)}, {})
    (results.folder(tmp_path, own) / lost).unlink()
    assert results.stored(tmp_path, own) is None


def test_pairs_are_of_seeds_that_both_have():
    records = [
        record(0.80),
        record(0.90, optimizer="InterpretableSGD"),
        record(0.70, seed=1),
        record(0.74, seed=1, optimizer="InterpretableSGD"),
        record(0.60, seed=2),
        record(0.50, data="digits"),
    ]
    pairs = results.paired(records)
    assert set(pairs) == {"scenes"}
    assert pairs["scenes"]["differences"] == pytest.approx([0.10, 0.04])
    assert pairs["scenes"]["mean"] == pytest.approx(0.07)
    assert pairs["scenes"]["standard_error"] == pytest.approx(0.03)
    assert pairs["scenes"]["n"] == 2


def test_one_seed_has_no_standard_error():
    pair = results.paired([record(0.8), record(0.9, optimizer="InterpretableSGD")])["scenes"]
    assert pair["standard_error"] is None and pair["n"] == 1


def test_summary_leaves_curves_out_and_hashes_itself():
    full = record(0.8) | {"history": {"losses": [1.0]}, "accuracy_at_weights": {}}
    content = results.summary([full], 2, {"test_accuracy": "share"}, 1.5)
    assert not content["complete"]
    assert set(content["runs"][0]) == {"test_accuracy", "config"}
    own = content.pop("hash")
    assert own == results.digest(json.loads(json.dumps(content)))


def test_versions_name_what_shapes_a_result():
    assert {"python", "torch", "numpy", "interpretable-sgd"} <= set(results.versions())

"""A head fitted to cached features: few connections, on features as they come, and what it says."""

import numpy as np
import pytest
import torch
from torch import nn

from interpretable_sgd import fit_head

CLASSES = 3


def features(n: int = 900) -> tuple[np.ndarray, np.ndarray]:
    """Rows of unlike scales, each class the largest of three sums of two features."""
    rng = np.random.default_rng(0)
    X = rng.random((n, 12)) * np.arange(1, 13) + 5
    y = ((X - 5) / np.arange(1, 13))[:, : 2 * CLASSES].reshape(n, CLASSES, 2).sum(2).argmax(1)
    return X, y


def test_a_bare_head_finds_the_features_of_each_class() -> None:
    X, y = features()
    names = np.array(["low", "middle", "top"])
    columns = [f"column {m}" for m in range(12)]
    module, study = fit_head(X, names[y], k=2, steps=800, feature_names=columns)
    (head,) = module
    kept = [set(row.nonzero().flatten().tolist()) for row in head.weight]
    assert kept == [{2 * c, 2 * c + 1} for c in range(CLASSES)]
    assert study.class_names == ("low", "middle", "top")
    assert study.units[4].title == "column 4"
    assert study.decisions.accuracy > 0.95 and len(study.decisions) == 180


def test_the_module_takes_features_as_they_are() -> None:
    X, y = features()
    module, study = fit_head(X, y, steps=100, seed=3)
    again, _ = fit_head(10 * X - 7, y, steps=100, seed=3)
    rows = torch.from_numpy(X).float()
    torch.testing.assert_close(again(10 * rows - 7), module(rows), rtol=1e-3, atol=1e-3)
    assert not module.training and not module[0]._forward_hooks
    assert 0 <= study.decisions.accuracy <= 1


def test_an_adapter_learns_units_that_a_bare_head_lacks() -> None:
    """Exclusive or: no sum of the two features tells the classes apart."""
    X = torch.rand(1200, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    y = (X[:, 0] * X[:, 1] > 0).long()
    bare = fit_head(X, y, steps=600).study.decisions.accuracy
    module, study = fit_head(X, y, adapter=32, steps=1200)
    assert isinstance(module[1], nn.ReLU) and module[0].out_features == 32
    assert bare < 0.7 and study.decisions.accuracy > 0.95
    assert (module[-1].weight != 0).sum(1).max() <= 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.ones(4)}, r"X must be \(rows, features\), got shape \(4,\)"),
        ({"y": np.ones(3)}, r"y must be \(900,\), one class a row, got shape \(3,\)"),
        ({"y": np.ones(900)}, r"y must have at least two classes, got \[1.0\]"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"adapter": 0}, "adapter must be at least 1, got 0"),
        ({"steps": 10}, "steps must be at least 100, got 10"),
        ({"held_out": 1}, r"held_out must be in \(0, 1\), got 1"),
        ({"held_out": 1e-9}, "held_out must leave rows on both sides, got 1e-09 of 900"),
        ({"feature_names": ["a"]}, "must be 12 names, got 1"),
    ],
)
def test_wrong_arguments_are_named(change: dict, message: str) -> None:
    X, y = features()
    with pytest.raises(ValueError, match=message):
        fit_head(**{"X": X, "y": y, "steps": 100, **change})


def test_what_is_not_finite_is_named() -> None:
    X, y = features()
    X[7, 3] = np.nan
    with pytest.raises(ValueError, match="X must be finite, got nan in row 7, column=3"):
        fit_head(X, y)

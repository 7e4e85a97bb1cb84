"""Sparse heads on frozen units, and what is said where the second solver is not installed."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from experiments.evaluation import frozen
from experiments.evaluation.judging import read
from experiments.evaluation.sparse_heads import glm_saga_path


def data(n, seed):
    """Three classes, each shown by one of twelve units, the others noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    units = torch.rand(n, 12, generator=generator)
    units[torch.arange(n), labels] += 1
    return TensorDataset(units, labels)


def heads(count):
    model = nn.Sequential(nn.Identity(), nn.Linear(12, 3))
    splits = [read(model, data(60, seed)) for seed in (1, 2)]
    return frozen.frozen_heads(model, data(240, 0), count, 0, *splits)


def test_without_glm_saga_its_heads_are_none(monkeypatch):
    monkeypatch.setattr(frozen, "installed", lambda: False)
    found = heads(240)
    assert found["glm_saga_heads"] is None
    assert max(found["sparse_heads"]["accuracy"]) == 1


def test_heads_are_fitted_on_so_many_images(monkeypatch):
    monkeypatch.setattr(frozen, "installed", lambda: False)
    seen = []

    def fitted(train, validation, test, path=None):
        seen.append((len(train[1]), len(validation[1]), len(test[1])))
        return {}

    monkeypatch.setattr(frozen, "sparse_heads", fitted)
    heads(90), heads(999)
    assert seen == [(90, 60, 60), (240, 60, 60)]


@pytest.mark.slow
def test_glm_saga_goes_from_nothing_to_the_units_that_matter():
    pytest.importorskip("glm_saga", reason="the extra `peers` brings it")
    pytest.importorskip("tqdm", reason="the extra `peers` brings it")
    units, labels = data(240, 0).tensors
    path = glm_saga_path(units, labels)
    counts = [int((weight.abs() > 1e-3).sum()) for weight, _ in path]
    assert len(path) == 20 and counts[0] <= 3 and counts[-1] > counts[0]
    weight, bias = path[len(path) // 2]
    assert (units @ weight.T + bias).argmax(1).eq(labels).double().mean() > 0.95
    assert weight.argmax(1).tolist() == [0, 1, 2]
    assert len(heads(240)["glm_saga_heads"]["weights"]) == 20

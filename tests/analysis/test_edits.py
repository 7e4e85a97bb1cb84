"""Edits as written down, and as matrices on the units."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from interpretable_sgd.analysis.editor import edit
from interpretable_sgd.analysis.edits import edited, edits_of
from tests.analysis.classifiers import CLASSES, UNITS, classifier, images
from tests.analysis.test_editor import an_edit


@settings(max_examples=50, deadline=None)
@given(edits=st.lists(an_edit(True), max_size=5), seed=st.integers(0, 99))
def test_edited_weights_are_a_linear_map_of_the_units(edits, seed):
    """Each edit is a matrix on units and bias, whatever the order of the classes."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(CLASSES, UNITS, generator=generator, dtype=torch.float64)
    bias = torch.randn(CLASSES, generator=generator, dtype=torch.float64)
    rows = torch.cat([weight, bias[:, None]], 1)
    for one in edits:
        for c in range(CLASSES):
            if one.in_class in (None, c):
                matrix = torch.eye(UNITS + 1, dtype=torch.float64)
                matrix[one.unit, one.unit] = 0 if one.change == "move" else one.factor
                if one.to is not None:
                    matrix[one.unit, one.to] = 1
                else:
                    matrix[one.unit, UNITS] = (1 - one.factor) * one.held
                rows[c] = rows[c] @ matrix
    found = edited(weight, bias, edits)
    assert torch.allclose(torch.cat([found[0], found[1][:, None]], 1), rows)


def test_weights_without_a_log_have_no_edits(tmp_path):
    path = edit(classifier("linear"), images()).save(tmp_path / "plain.safetensors")
    assert edits_of(path) == () and edits_of("weights.pt") == ()


@pytest.mark.parametrize("log", ["[1]", "{", json.dumps([{"change": "disable"}])])
def test_a_damaged_log_is_an_error(tmp_path, log):
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors", {"edits": log})
    with pytest.raises(ValueError, match="path must be of weights with a log of edits"):
        edits_of(tmp_path / "w.safetensors")

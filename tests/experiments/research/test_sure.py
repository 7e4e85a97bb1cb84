"""Sets of made-up outputs against what is known of them, and the table of hand-made numbers."""

import io

import pytest
import torch
from rich.console import Console

from experiments.datasets.registry import open_data
from experiments.evaluation.metrics import Outputs
from experiments.research import sure


def test_sets_of_known_probabilities_hold_what_they_promise():
    """100 halves of 2,000 images: the mean of held shares has a standard error near .1 points."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    found = sure.sets(Outputs(logits, logits, labels), 0.9, 0.0)
    assert found.held == pytest.approx(0.9, abs=0.005)
    assert 0.005 < found.spread < 0.02 and 1 < found.size < 5


def test_numbers_of_a_network_and_their_table():
    data = open_data("scenes:size=24,classes=4,concepts=6,train=8,validation=40,test=40")
    sure_of = {"sets": {"APS 0.9": {"held": 0.9, "spread": 0.01, "size": 1.5}}}
    model = sure.PROBLEMS["scenes"].model.build(data.shape, data.classes).eval()
    row = sure.measured(model, data)
    assert row["images"] == 80 and row["pool"] == 64 and set(row["sets"]) >= set(sure_of["sets"])
    assert 0 <= row["agree"] <= row["units"] <= 64 and 0 <= row["f1"] <= 1
    made = {"data": "scenes", "method": "SGD", "seed": 1, "accuracy": 0.75, **sure_of}
    out = io.StringIO()
    Console(file=out, width=200).print(sure.summary([made]))
    assert "0.75" in out.getvalue() and "90.0%, 1.500" in out.getvalue()

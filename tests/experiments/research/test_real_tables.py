"""The page of the real suite says what its stored runs do."""

import json
from pathlib import Path

import pytest

from experiments.research.tables import POST_HOC, fitted_afterwards

RESULTS = Path(__file__).parents[3] / "docs/results"


@pytest.fixture(scope="module")
def runs():
    return {run["method"]: run for run in json.loads((RESULTS / "real.json").read_text())}


def test_its_numbers_are_those_of_the_runs(runs):
    page = (RESULTS / "real.md").read_text()
    for name, method in (("SGD, dense", "SGD"), ("InterpretableSGD", "InterpretableSGD")):
        run = runs[method]
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
        for text in (
            f"{100 * run['accuracy']:.1f} %",
            f"{run['weights_per_class']:.1f}",
            f"{100 * run['residual_at_5']:.1f} %",
            f"{run['reach_95']:.1f}",
        ):
            assert text in row


def test_the_best_head_afterwards_is_the_one_validation_chooses(runs):
    accuracy, weights = fitted_afterwards(runs["SGD"]["sparse_heads"])[POST_HOC]
    page = (RESULTS / "real.md").read_text()
    (row,) = [
        line for line in page.splitlines() if "best head fitted afterwards" in line and "|" in line
    ]
    assert f"{100 * accuracy:.1f} %" in row and f"{weights:.1f}" in row

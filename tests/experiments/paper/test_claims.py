"""Verdicts on the paper's sentences: each from runs whose answer is known."""

from pathlib import Path

import numpy as np
import pytest

from experiments.paper.claims import CLAIMS, D5, DENSE, accuracy, claims, few_concepts, residual
from experiments.paper.grids import claims as planned
from experiments.paper.verdicts import above, as_published, at_least, best_is_near, falling, near
from experiments.published import title
from tests.experiments.paper.records import run


def nets(**accuracies):
    """Nets of one number a seed."""
    return {
        name: [run(seed=seed, accuracy=value) for seed, value in enumerate(values)]
        for name, values in accuracies.items()
    }


HIGH, LOW, WIDE = [0.70, 0.71, 0.72], [0.60, 0.61, 0.63], [0.30, 0.61, 0.95]


@pytest.mark.parametrize(
    ("judge", "found", "verdict"),
    [
        (above("a", "b", accuracy), nets(a=HIGH, b=LOW), "holds"),
        (above("a", "b", accuracy), nets(a=LOW, b=HIGH), "fails"),
        (above("a", "b", accuracy), nets(a=WIDE, b=HIGH), "open"),
        (above("a", "b", accuracy, -0.2), nets(a=LOW, b=HIGH), "holds"),
        (above("a", "b", accuracy), nets(a=HIGH[:1], b=LOW[:1]), "open"),
        (above("a", "b", accuracy), nets(a=HIGH), "not measured"),
        (near("a", "b", accuracy, 0.2), nets(a=LOW, b=HIGH), "holds"),
        (near("a", "b", accuracy, 0.01), nets(a=LOW, b=HIGH), "fails"),
        (near("a", "b", accuracy, 0.01), nets(a=HIGH, b=LOW), "fails"),
        (near("a", "b", accuracy, 0.1), nets(a=WIDE, b=HIGH), "open"),
        (at_least("a", accuracy, 0.5), nets(a=HIGH), "holds"),
        (at_least("a", accuracy, 0.5, -1), nets(a=HIGH), "fails"),
        (at_least("a", accuracy, 0.5), nets(), "not measured"),
        (falling(["a", "b"], accuracy), nets(a=HIGH, b=LOW), "holds"),
        (falling(["b", "a"], accuracy), nets(a=HIGH, b=LOW), "fails"),
        (falling(["a", "b"], accuracy), nets(a=WIDE, b=LOW), "open"),
        (best_is_near("a", ["b"], accuracy, 0.001), nets(a=HIGH, b=LOW), "holds"),
        (best_is_near("a", ["b"], accuracy, 0.001), nets(a=LOW, b=HIGH), "fails"),
    ],
)
def test_verdicts(judge, found, verdict):
    assert judge(found).verdict == verdict


def test_a_difference_is_of_the_same_seeds_and_says_its_interval():
    found = above("a", "b", accuracy)(nets(a=HIGH, b=LOW))
    assert (found.here, found.seeds) == ("+9.7 +- 1.4", 3)
    assert above("a", "b", accuracy)(nets(a=[*HIGH, 0.1], b=LOW)) == found


def test_what_was_not_measured_of_a_run_counts_for_nothing():
    found = {D5: [run(seed=s, signed_residual={"4": v}) for s, v in enumerate((0.0, None, 0.0))]}
    assert at_least(D5, residual(4), 0.02, -1)(found)[1:] == (2, "holds")
    assert at_least(D5, residual(4), 0.02, -1)({D5: [run()]}).verdict == "not measured"


def test_published_accuracies_are_compared_with_the_papers_scales_alone():
    judge = as_published({"a": 60.5, "b": 70.0}, accuracy, "no photographs")
    tiny, paper = ({"a": [run(scale=s, accuracy=0.6)]} for s in ("tiny", "paper"))
    assert judge(tiny) == ("no photographs", 0, "not measured")
    assert judge(paper) == ("1 of 1 within a point", 1, "holds")
    paper["b"] = [run(scale="paper", accuracy=0.6)]
    assert judge(paper)[::2] == ("1 of 2 within a point", "fails")


def test_concepts_are_counted_once_and_units_without_one_each():
    weight = np.ones((1, 7))
    assert few_concepts(weight, np.array(["a", "a", "b", "b", "c", "d", "e"])) == 1
    assert few_concepts(weight, np.array(["a", "a", "b", "b", "c", "", ""])) == 1
    assert few_concepts(weight, np.array(["a", "a", "b", "c", "d", "", ""])) == 0
    assert np.isnan(few_concepts(weight * 1e-4, np.array(["a"] * 7)))


def test_every_sentence_has_a_row_and_the_paper_contradicts_itself_in_three():
    runs = planned("tiny", [0, 1])
    (sheet,) = claims([], runs, Path("nowhere"))
    assert len(sheet.rows) == sum(map(len, CLAIMS.values()))
    assert len({row[0] for row in sheet.rows}) == len(sheet.rows)
    own = [row for row in sheet.rows if row[0].startswith("4.2 by Table 1")]
    assert [row[-1] for row in own] == ["holds", "fails", "fails", "fails"]
    rest = [row[-1] for row in sheet.rows if row not in own]
    assert set(rest) == {"not measured"}


def test_every_net_that_a_sentence_names_is_trained():
    names = {title(r.model.name, r.method.name) for r in planned("tiny", [0])}
    numbers = {"epochs": [{"epoch": 1, "train_accuracy": 0.5}], "sparsity": 0.5}
    stored = [
        run(r.method.name, r.data, r.seed, model=r.model.name, **numbers)
        for r in planned("tiny", [0, 1])
    ]
    for each in stored:
        vars(each)["arrays"] = {}
    assert {D5, DENSE, "Res18-L1", "Res18-ISGD"} <= names
    (sheet,) = claims(stored, planned("tiny", [0, 1]), Path("nowhere"))
    judged = {row[0]: row for row in sheet.rows}
    assert judged["4.1: Res18-d5a: the accuracy is nearly the same"][1:] == (
        "+0.02",
        "+0.0 +- 0.0",
        "+0.0 +- 0.0",
        "2",
        "holds",
    )
    assert judged["4.2: d5a: 99 % sparsity"][2:] == ("50.0 %", "50.0 %", "2", "fails")

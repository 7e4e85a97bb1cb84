"""Which runs a figure takes, and what it says about those that are not there."""

import pytest

from experiments.figures.series import D5, DENSE, OURS, MissingRuns, first, needs, runs_of, seeds
from tests.experiments.figures.stored_runs import run


def test_runs_are_of_one_data_set_and_scale_by_seed(tmp_path):
    made = [run(tmp_path, seed=seed) for seed in (1, 0)]
    others = [
        run(tmp_path, data="places365"),
        run(tmp_path, scale="small"),
        run(tmp_path, model="resnet50"),
    ]
    found = runs_of("fig4", [*others, *made], [DENSE], "cifar10", "tiny", beside=[OURS])
    assert found == {DENSE: made[::-1]}


def test_a_changed_method_is_not_the_default(tmp_path):
    made = [run(tmp_path, m) for m in ("InterpretableSGD, block_size=3", "InterpretableSGD")]
    assert runs_of("fig4", made, [OURS], "cifar10", "tiny") == {OURS: made[1:]}


def test_missing_runs_are_named_with_the_command_that_trains_them(tmp_path):
    message = (
        r"fig9 must have a stored run of resnet18 \(Dynamic-5\), resnet18 \(InterpretableSGD\) on cifar10 at scale "
        r"tiny, got none; `python -m experiments run fig9 --scale tiny` trains what is missing"
    )
    with pytest.raises(MissingRuns, match=message):
        runs_of("fig9", [run(tmp_path)], [D5, DENSE, OURS], "cifar10", "tiny")
    with pytest.raises(MissingRuns, match="run fig9 --scale paper --data cifar10:PATH`"):
        runs_of("fig9", [], [DENSE], "cifar10", "paper")


def test_seeds_are_counted_where_some_are_there(tmp_path):
    made = [run(tmp_path, seed=seed) for seed in range(3)]
    assert seeds({DENSE: made, OURS: made[:1]}) == "n seeds: Res18 3, InterpretableSGD 1"
    assert seeds({DENSE: made, OURS: made}) == "3 seeds"


def test_a_run_stored_without_what_a_figure_shows_is_named(tmp_path):
    stored = run(tmp_path)
    needs("fig7", stored, "weight", "decision_parts")
    del stored.arrays["decision_parts"]
    with pytest.raises(
        MissingRuns, match=r"fig7 must have decision_parts in .*seed0-.*/arrays\.npz"
    ):
        needs("fig7", stored, "weight", "decision_parts")


def test_one_run_of_each_row_has_the_seed_that_all_have(tmp_path):
    made = [run(tmp_path, seed=seed) for seed in range(3)]
    assert first({DENSE: made, OURS: made[1:]}) == {DENSE: made[1], OURS: made[1]}
    assert first({DENSE: made[:1], OURS: made[1:]}) == {DENSE: made[0], OURS: made[1]}

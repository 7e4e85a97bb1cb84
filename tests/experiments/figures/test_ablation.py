"""The ablation: a panel for each option, the default in every one."""

import pytest

from experiments.figures.ablation import ablation, options
from experiments.figures.series import MissingRuns
from tests.experiments.figures.stored_runs import run, written

DATA = "scenes:size=24"
CONFIG = {"optimizer": {"floor": 0.05}, "recipe": {"batch": 32}}


def runs(out):
    default = [run(out, "InterpretableSGD", DATA, seed, config=CONFIG) for seed in (0, 1)]
    changes = ("floor=0", "batch=128", "floor=0.2", "floor=0, batch=128")
    return default, [run(out, f"InterpretableSGD, {change}", DATA) for change in changes]


def test_plotted_numbers_are_the_stored_ones(tmp_path):
    default, changed = runs(tmp_path)
    rows = written(ablation([*changed, *default], tmp_path), "ablation-1")
    shown = [(r["option"], r["value"]) for r in rows if r["measure"] == "test"]
    assert shown == [
        ("batch", "32 (default)"),
        ("batch", "128"),
        ("floor", "0.05 (default)"),
        ("floor", "0"),
        ("floor", "0.2"),
    ]
    row = next(r for r in rows if r["value"] == "0.2" and r["measure"] == "validation")
    assert float(row["mean"]) == changed[2]["validation_accuracy"]
    assert (row["sd"], row["seeds"]) == ("", "1")
    weights = next(r for r in rows if r["measure"] == "weights")
    both = [run["weights_per_class"] for run in default]
    assert float(weights["mean"]) == pytest.approx(sum(both) / 2, abs=1e-12)
    assert float(weights["sd"]) == pytest.approx(abs(both[0] - both[1]) / 2**0.5, abs=1e-12)


def test_without_the_default_there_is_nothing_to_compare_with(tmp_path):
    default, changed = runs(tmp_path)
    assert options(changed, DATA) == {}
    message = (
        r"ablation must have a stored run of resnet18 \(InterpretableSGD\), a change of one option"
    )
    with pytest.raises(MissingRuns, match=message):
        ablation(changed, tmp_path, data=[DATA])
    with pytest.raises(MissingRuns, match="on any data at scale tiny"):
        ablation(default, tmp_path)

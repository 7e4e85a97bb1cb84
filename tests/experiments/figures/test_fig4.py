"""Figure 4: curves are means over seeds, heads are drawn weight by weight."""

import numpy as np
import pytest

from experiments.figures.fig4 import ROWS, fig4
from experiments.figures.series import OURS
from tests.experiments.figures.stored_runs import run, written


def rows_of(out, seeds=(0,), **more):
    return [run(out, r.method, seed=s, **more) for r in (*ROWS, OURS) for s in seeds]


def test_plotted_numbers_are_the_stored_ones(tmp_path):
    made = rows_of(tmp_path, seeds=(0, 1))
    rows = written(fig4(made, tmp_path), "fig4")
    models = [row.label for row in (*ROWS, OURS)]
    assert list(dict.fromkeys(row["model"] for row in rows)) == models
    curve = [r for r in rows if (r["panel"], r["model"]) == ("validation", "Res18")]
    both = np.array([[e["validation_accuracy"] for e in r["epochs"]] for r in made[:2]])
    assert [float(r["mean"]) for r in curve] == both.mean(0).tolist()
    assert [float(r["lowest"]) for r in curve] == both.min(0).tolist()
    assert [r["x"] for r in curve] == ["1", "2", "3"] and {r["seeds"] for r in curve} == {"2"}
    cells = [r for r in rows if (r["panel"], r["model"]) == ("weights", "InterpretableSGD")]
    weight = made[8].arrays["weight"]
    assert len(cells) == (abs(weight) >= 1e-3).sum()
    assert all(float(r["weight"]) == weight[int(r["output"]), int(r["unit"])] for r in cells)


def test_one_seed_of_flat_heads_and_curves_of_the_test(tmp_path):
    flat = {"weight": np.zeros((365, 12), dtype=np.float32)}
    epochs = [
        {
            "epoch": 1,
            "train_accuracy": 0.5,
            "validation_accuracy": 0.4,
            "test_accuracy": 0.3,
        }
    ]
    made = rows_of(tmp_path, arrays=flat, epochs=epochs)
    rows = written(fig4(made, tmp_path), "fig4")
    assert [r["mean"] for r in rows if r["panel"] == "test"] == ["0.3"] * 5
    assert not [r for r in rows if r["panel"] in ("weights", "validation")]


def test_seeds_of_other_lengths_are_refused(tmp_path):
    made = rows_of(tmp_path)
    longer = run(tmp_path, seed=1, epochs=[*made[0]["epochs"], made[0]["epochs"][0] | {"epoch": 4}])
    message = "runs of SGD must have train_accuracy at the same epochs, got 3, 4 epochs"
    with pytest.raises(ValueError, match=message):
        fig4([*made, longer], tmp_path)

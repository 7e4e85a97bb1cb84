"""Figure 5: K by K, over training, and the best units."""

import numpy as np

from experiments.figures.fig5 import ROWS, best_units, fig5
from experiments.figures.series import DENSE, OURS
from tests.experiments.figures.stored_runs import run, written


def test_plotted_numbers_are_the_stored_ones_in_the_papers_order(tmp_path):
    made = [run(tmp_path, row.method, "places365") for row in ROWS]
    rows = written(fig5(made, tmp_path), "fig5")
    panels = list(dict.fromkeys(row["panel"] for row in rows))
    assert [panel.split()[0] for panel in panels] == ["top-1", "share", "mean", "IoU"]
    assert list(dict.fromkeys(row["model"] for row in rows)) == [row.label for row in ROWS]
    sparsity = [float(r["mean"]) for r in rows if r["panel"] == panels[1] and r["model"] == "Res18"]
    assert sparsity == [epoch["sparsity"] for epoch in made[-1]["epochs"]]
    best = [float(r["mean"]) for r in rows if r["panel"] == panels[3] and r["model"] == "Res18-d5a"]
    assert best == sorted(made[0].arrays["unit_iou"].tolist(), reverse=True)


def test_iou_may_be_taken_at_few_epochs_and_units_may_have_no_labels(tmp_path):
    epochs = [{"epoch": n, "validation_accuracy": 0.5, "sparsity": 0.1} for n in (1, 2, 3)]
    some = [*epochs[:2], epochs[2] | {"mean_iou": 0.25}]
    made = [
        run(tmp_path, row.method, "places365", epochs=some if row is OURS else epochs)
        for row in (*ROWS, OURS)
    ]
    for stored in made:
        del stored.arrays["unit_iou"]
    rows = written(fig5(made, tmp_path), "fig5")
    iou = [row for row in rows if row["panel"] == "mean IoU of units"]
    assert [(row["model"], row["x"], row["mean"]) for row in iou] == [(OURS.label, "3", "0.25")]
    assert not [row for row in rows if row["panel"].startswith("IoU of")]


def test_best_units_are_ranked_before_seeds_are_averaged(tmp_path):
    made = [
        run(tmp_path, seed=seed, arrays={"unit_iou": np.array(iou)})
        for seed, iou in enumerate(([0.1, 0.3], [0.5, 0.1]))
    ]
    (curve,) = best_units({DENSE: made})
    assert curve.x.tolist() == [1, 2] and curve.values.mean(0).tolist() == [0.4, 0.1]

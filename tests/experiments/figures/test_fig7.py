"""Figure 7: what is shown of a logit adds up to it, whatever the head."""

import numpy as np

from experiments.figures.fig7 import decision, fig7, images
from experiments.figures.series import D5, DENSE, OURS
from tests.experiments.figures.stored_runs import run, written

ROWS = (D5, DENSE, OURS)


def runs(out, rows=ROWS, **arrays):
    return [run(out, r.method, "places365", arrays=arrays) for r in rows]


def test_parts_add_up_to_the_stored_logits(tmp_path):
    made = runs(tmp_path)
    rows = written(fig7(made, tmp_path), "fig7")
    assert list(dict.fromkeys(row["model"] for row in rows)) == [row.label for row in ROWS]
    for stored, row in zip(made, ROWS, strict=True):
        highest = np.sort(stored.arrays["logits"][0])[::-1]
        for name, logit in zip(("predicted", "runner-up"), highest[:2], strict=True):
            mine = [r for r in rows if (r["model"], r["decision"]) == (row.label, name)]
            *parts, total = (float(r["value"]) for r in mine)
            assert [r["part"] for r in mine[-3:]] == ["residual", "bias", "logit"]
            assert np.isclose(sum(parts), total, atol=1e-9)
            assert np.isclose(total, logit, atol=1e-5)


def test_a_mistake_has_a_figure_of_its_own(tmp_path):
    made = runs(tmp_path, rows=(D5, DENSE))
    right = made[0].arrays["labels"]
    made[0].arrays["labels"] = np.where(np.arange(3) == 1, 99, right)
    found = {row: stored.arrays for row, stored in zip(ROWS, made, strict=False)}
    assert images(found) == {"": 0, "-wrong": 1}


def test_flat_maps_silent_units_and_one_class(tmp_path):
    names = np.array(["only"])
    arrays = {
        "class_names": names,
        "maps": np.ones((3, 12, 2, 2), dtype=np.float32),
        "decision_classes": np.zeros((3, 1), dtype=int),
        "decision_parts": np.zeros((3, 1, 12), dtype=np.float32),
        "decision_biases": np.full((3, 1), -0.5, dtype=np.float32),
        "labels": np.zeros(3, dtype=int),
    }
    made = runs(tmp_path, rows=(D5, DENSE), **arrays)
    made[0].arrays["decision_parts"][0, 0, 7] = 0.25
    rows = written(fig7(made, tmp_path), "fig7")
    shown = [(r["model"], r["part"], float(r["value"])) for r in rows]
    assert shown[:4] == [
        ("Res18-d5a", "unit 7", 0.25),
        ("Res18-d5a", "residual", 0.0),
        ("Res18-d5a", "bias", -0.5),
        ("Res18-d5a", "logit", -0.25),
    ]


def test_the_score_is_of_the_sum_over_all_units_kept_or_not(tmp_path):
    arrays = run(tmp_path, D5.method, "places365").arrays
    arrays["weight"], arrays["units"] = np.full((4, 12), 0.5), np.arange(36.0).reshape(3, 12)
    arrays["decision_parts"][0, 0] = np.where(np.arange(12) > 9, np.arange(12) / 2, 0)
    decided = decision(arrays, 0, 0)
    assert decided.top.tolist() == [11, 10]
    assert np.allclose(decided.scores, [11 / 66, 10 / 66])
    arrays["weight"] = -arrays["weight"]
    assert np.isnan(decision(arrays, 0, 0).scores).all()

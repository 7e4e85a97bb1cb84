"""Figures 1 to 3 are drawn from what their scenes have stored."""

import json

import pytest

from experiments.figures.fig1 import fig1
from experiments.figures.fig2 import fig2
from experiments.figures.fig3 import fig3
from experiments.selection_map import mechanism
from tests.experiments.figures.stored_runs import written


def test_figure_2_shows_the_first_seed_of_each_training(tmp_path):
    records = [
        {
            "training": name,
            "seed": seed,
            "accuracy": 0.5,
            "weight": [[1.5, -0.5], [0.0, float(seed)]],
            "formulas": ["1.5 screen - 0.5 table", ""],
        }
        for name in ("dense", "routed")
        for seed in (0, 1)
    ]
    toy = {"concepts": ["screen", "table"], "classes": {"tv": [], "desk": []}, "records": records}
    (tmp_path / "toy.json").write_text(json.dumps(toy))
    rows = written(fig2((), tmp_path), "fig2")
    assert [row["training"] for row in rows] == ["dense"] * 4 + ["routed"] * 4
    assert [float(row["weight"]) for row in rows[:4]] == [1.5, -0.5, 0.0, 0.0]


def test_figure_3_shows_every_position(tmp_path):
    found = {
        "side": 2,
        "k": 1,
        "classes": ["cat"],
        "map": [0.0, 1.0, 2.0, 3.0],
        "votes": [[0.0, 0.5, -1.0, 2.0]],
        "means": [0.5],
        "deviations": [1.0],
        "near": [[True, True, False, False]],
        "largest": [[False, False, False, True]],
    }
    (tmp_path / "selection_map.json").write_text(json.dumps(found))
    rows = written(fig3((), tmp_path), "fig3")
    assert [(r["row"], r["column"], float(r["vote"])) for r in rows] == [
        ("0", "0", 0.0),
        ("0", "1", 0.5),
        ("1", "0", -1.0),
        ("1", "1", 2.0),
    ]
    assert [r["dynamic_k"] for r in rows] == ["False", "False", "False", "True"]


def test_figure_1_shows_what_a_layer_keeps(tmp_path):
    (tmp_path / "selection_map.json").write_text(json.dumps({"layer": mechanism()}))
    rows = written(fig1((), tmp_path), "fig1")
    for name in "ab":
        for c in "012":
            mine = [r for r in rows if (r["input"], r["class"]) == (name, c)]
            votes = [float(r["activation"]) * float(r["weight"]) for r in mine]
            kept = [r["kept"] == "True" for r in mine]
            assert sorted(votes)[-2:] == sorted(v for v, k in zip(votes, kept, strict=True) if k)


@pytest.mark.parametrize(
    ("figure", "command"),
    [(fig1, "selection-map"), (fig2, "toy"), (fig3, "selection-map")],
    ids=["fig1", "fig2", "fig3"],
)
def test_what_was_never_run_is_said(figure, command, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"python -m experiments {command} --out .* writes"):
        figure((), tmp_path)

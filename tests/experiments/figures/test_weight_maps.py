"""Heads side by side, of any network; rows of a staircase."""

from experiments.figures.series import OURS
from experiments.figures.weight_maps import heads
from tests.experiments.figures.stored_runs import run, written


def test_heads_of_another_network_are_called_by_their_methods(tmp_path):
    made = [run(tmp_path, m, "scenes", model="small_resnet") for m in ("SGD", OURS.method)]
    rows = written(heads(made, tmp_path, "scenes", model="small_resnet"), "heads")
    for stored in made:
        own = [row for row in rows if row["model"] == stored["method"]]
        weight = stored.arrays["weight"]
        assert len(own) == (abs(weight) >= 1e-3).sum() > 0
        assert all(float(r["weight"]) == weight[int(r["output"]), int(r["unit"])] for r in own)

"""Loss and gradient of each step, and the running mean."""

import numpy as np

from experiments.figures.convergence import convergence, running_mean
from tests.experiments.figures.stored_runs import run, written


def test_plotted_numbers_are_the_stored_ones(tmp_path):
    steps = list(range(1, 41))
    curves = {"loss": [steps, [1 / s for s in steps]], "gradient": [[1, 40], [0.5, -0.1]]}
    made = [run(tmp_path, m, "scenes", curves=curves) for m in ("SGD", "InterpretableSGD")]
    rows = written(convergence(made, tmp_path, "scenes"), "convergence")
    assert [r["measure"] for r in rows if r["model"] == "Res18"] == ["loss"] * 40 + ["gradient"] * 2
    assert [(r["step"], float(r["value"])) for r in rows[40:42]] == [("1", 0.5), ("40", -0.1)]


def test_running_mean_holds_values_between_steps():
    steps, values = np.array([1.0, 3.0, 4.0]), np.array([4.0, 1.0, 2.0])
    every = np.array([4.0, 1.0, 1.0, 2.0])
    expected = [every[: int(step)].mean() for step in steps]
    np.testing.assert_allclose(running_mean(steps, values), expected)

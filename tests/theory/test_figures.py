import json

import numpy as np
import pytest

from theory.figures import curves, draw

NUMBERS = {
    "least squares far 128": 2.0,
    "least squares far 128 +-": 0.1,
    "least squares far 64": 3.0,
    "least squares far 64 +-": 0.2,
    "least squares near 64": 1.0,
    "least squares far slope": -0.5,
    "bound ratio": 0.3,
}


def test_curves_are_read_in_order_and_slopes_are_left_out():
    found = curves(NUMBERS)
    assert list(found) == ["least squares"]
    np.testing.assert_array_equal(found["least squares"]["far"].T, [64, 128])
    np.testing.assert_array_equal(found["least squares"]["far"].mean, [3, 2])
    np.testing.assert_array_equal(found["least squares"]["far"].margin, [0.2, 0.1])
    np.testing.assert_array_equal(found["least squares"]["near"].margin, [0])


def test_figures_are_drawn_from_the_stored_run(tmp_path):
    pytest.importorskip("matplotlib")
    verdict = {"statement": "SGD: mean", "verdict": "HOLDS", "numbers": NUMBERS}
    alone = {key.removeprefix("least squares "): value for key, value in NUMBERS.items()}
    verdicts = [
        {"name": "rate-sgd", **verdict},
        {"name": "control-stuck", **verdict, "numbers": alone},
        {"name": "control-decaying-short", **verdict, "numbers": alone},
        {"name": "eq6", **verdict, "numbers": {}},
    ]
    (tmp_path / "theory.json").write_text(json.dumps({"verdicts": verdicts}))
    written = draw(tmp_path, quick=True, seed=0)
    assert [path.name for path in written] == ["rates.png", "controls.png", "decaying.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)

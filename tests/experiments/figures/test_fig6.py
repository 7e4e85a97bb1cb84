"""Figure 6 and the supplement's: connections are the strongest weights, their units those with pictures."""

import numpy as np
import pytest

from experiments.evaluation import selection
from experiments.figures.fig6 import fig6
from experiments.figures.graphs import label, lit, unit, upsampled
from experiments.figures.s1 import s1
from experiments.figures.s2 import s2
from experiments.figures.series import INNER, MissingRuns
from tests.experiments.figures.stored_runs import run, written

PLACES = "places365"


def test_lines_are_the_strongest_weights_of_each_class(tmp_path):
    made = [run(tmp_path, method, PLACES) for method in ("Dynamic-5", "InterpretableSGD")]
    rows = written(fig6(made, tmp_path), "fig6")
    for model, stored in zip(("Res18-d5a", "InterpretableSGD"), made, strict=True):
        weight = stored.arrays["weight"]
        expected = [
            weight[c, m] for c in range(len(weight)) for m in selection.strongest(weight[c])
        ]
        mine = [row for row in rows if row["model"] == model]
        assert [float(row["weight"]) for row in mine] == expected
        assert {row["concept"] for row in mine} == {f"concept {row['unit']}" for row in mine}


def test_classes_can_be_chosen(tmp_path):
    stored = run(tmp_path, "Dynamic-5", PLACES)
    rows = written(fig6([stored], tmp_path, classes=["canal", "bakery"]), "fig6")
    assert list(dict.fromkeys(row["target"] for row in rows)) == ["canal", "bakery"]
    with pytest.raises(MissingRuns, match=r"--classes must be of airplane_cabin, .*got 'attic'"):
        fig6([stored], tmp_path, classes=["attic"])


def test_a_unit_whose_pictures_were_not_stored_is_named(tmp_path):
    arrays = run(tmp_path).arrays
    arrays["top_units:layer4"][5] = 99
    found = unit(arrays, "layer4", 5)
    assert found.name == "concept 5" and len(found.pictures) == len(found.regions) == 0


def test_a_class_that_reads_no_unit_and_units_without_labels(tmp_path):
    weight = np.zeros((365, 12), dtype=np.float32)
    weight[0, 3] = weight[91, 3] = 2.0
    stored = run(tmp_path, "Dynamic-5", data=PLACES, classes=365, arrays={"weight": weight})
    del stored.arrays["unit_iou"]
    rows = written(fig6([stored], tmp_path), "fig6")
    assert [(row["target"], row["unit"], row["iou"]) for row in rows] == [
        ("airplane cabin", "3", ""),
        ("class 91", "3", ""),
    ]
    silent = run(tmp_path, "Dynamic-5", data=PLACES, arrays={"weight": 0 * weight[:4]})
    assert written(fig6([silent], tmp_path), "fig6") == []


def test_a_unit_brings_its_label_and_the_pictures_it_has(tmp_path):
    arrays = run(tmp_path).arrays
    found, silent = unit(arrays, "layer4", 5), unit(arrays, "layer4", 0)
    assert (found.name, found.iou) == ("concept 5", arrays["unit_iou"][5])
    assert found.pictures.shape == (2, 8, 6, 3) and found.regions.shape == (2, 8, 6)
    assert len(silent.pictures) == len(silent.regions) == 0
    assert label(arrays, "layer2", 1) == ("in 1", arrays["inner_in_iou:layer3.0"][1])


def test_outside_a_region_it_is_dark():
    picture = np.full((2, 2, 3), 100, dtype=np.uint8)
    region = np.array([[True, False], [False, False]])
    assert lit(picture, region)[..., 0].tolist() == [[100, 40], [40, 40]]
    assert np.allclose(upsampled(np.array([[[0.0, 4.0]]]), (1, 4)), [[[0.0, 1.0, 3.0, 4.0]]])


def test_s1_pairs_the_routed_convolutions_with_the_dense_shortcuts(tmp_path):
    routed, dense = run(tmp_path, INNER.method, data=PLACES), run(tmp_path, data=PLACES)
    rows = written(s1([routed, dense], tmp_path), "s1")
    panel = "layer3 to layer4_0"
    expected = {
        INNER.label: routed.arrays["inner:layer4.0"],
        "Res18": dense.weights()["layer4.0.downsample.0.weight"][:, :, 0, 0].numpy(),
    }
    for model, weight in expected.items():
        cells = [row for row in rows if (row["panel"], row["model"]) == (panel, model)]
        assert len(cells) == (abs(weight) >= 1e-3).sum() > 0
        assert all(float(r["weight"]) == weight[int(r["output"]), int(r["unit"])] for r in cells)
    with pytest.raises(MissingRuns, match=r"s1 must have a stored run of resnet18 \(SGD\)"):
        s1([routed], tmp_path)


def test_s2_shows_two_units_of_each_target_from_layer2_up(tmp_path):
    stored = run(tmp_path, INNER.method, data=PLACES)
    rows = written(s2([stored], tmp_path), "s2")
    parts = ["layer2 to layer3_0", "layer3 to layer4_0", "layer4 to classes"]
    assert list(dict.fromkeys(row["model"] for row in rows)) == parts
    lower = [row for row in rows if row["model"] == parts[0]]
    weight, targets = stored.arrays["inner:layer3.0"], stored.arrays["top_targets:layer2"][:3]
    expected = [weight[t, m] for t in targets for m in selection.strongest(weight[t], 2)]
    assert [float(row["weight"]) for row in lower] == expected
    assert lower[0]["target"].startswith(f"channel {targets[0]}: out {targets[0]}, IoU 0.")
    assert lower[0]["concept"] == f"in {lower[0]['unit']}"

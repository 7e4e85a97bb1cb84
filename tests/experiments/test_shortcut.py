"""A planted shortcut: how its unit is found, and the command end to end on few images."""

import json

import torch
from torch import nn

from experiments import __main__ as dispatch
from experiments.datasets.synthetic.marked import COLOUR, MarkedScenes
from experiments.shortcut import as_in_training, chosen_edits, groups_of
from interpretable_sgd import analysis


def planted() -> analysis.Editor:
    """Unit c sees class c, unit 3 the mark, and class 0 reads both."""
    labels = torch.arange(300) % 3
    marks = torch.arange(300) % 2 == 0
    units = torch.cat([nn.functional.one_hot(labels, 3), marks[:, None]], 1).float()
    model = nn.Sequential(nn.Identity(), nn.Linear(4, 3))
    nn.init.zeros_(model[1].bias)
    model[1].weight.data = torch.cat([torch.eye(3), torch.tensor([[2.0], [0.0], [0.0]])], 1)
    return analysis.edit(model, [(units, labels)], groups=groups_of(labels, marks))


def test_the_unit_of_the_mark_is_found_and_nothing_else_is_touched():
    editor = planted()
    before, after = as_in_training(editor.effect())
    assert before == after == 1 and editor.effect().worst_group == (0, 0)
    assert [(edit.change, edit.unit) for edit in chosen_edits(editor)] == [("disable", 3)]
    assert editor.effect().worst_group == (0, 1)


def test_a_mark_goes_with_one_class_in_training_alone():
    scenes = MarkedScenes(classes=4, marked=0.5)
    marks, labels = scenes.marks("train", 400), torch.arange(400) % 4
    # 100 images of the class, half of them marked: within four standard errors of 5
    assert not marks[labels != 0].any() and abs(int(marks[labels == 0].sum()) - 50) <= 20
    for split in ("validation", "test"):
        found = scenes.marks(split, 400)
        for c in range(4):
            assert abs(int(found[labels == c].sum()) - 50) <= 20


def test_the_mark_is_where_it_is_said_to_be():
    scenes = MarkedScenes(classes=4, marked=1.0)
    pixels, _ = scenes.tensors("test", 60)
    magenta = (pixels == torch.from_numpy(COLOUR)[None, :, None, None]).all(1)
    assert torch.equal(magenta.sum((1, 2)) >= 36, scenes.marks("test", 60))


def test_the_command_end_to_end(tmp_path):
    assert dispatch.main(["shortcut", "--quick", "--seeds", "0", "--out", str(tmp_path)]) == 0
    records = json.loads((tmp_path / "shortcut.json").read_text())
    assert [record["method"] for record in records] == ["SGD", "InterpretableSGD"]
    for record in records:
        assert record["units"] <= 3 and record["same_flips"] and record["prediction_error"] < 1e-4
        assert set(record["groups"]) == {
            f"{whose}, {mark}"
            for whose in ("marked class", "other classes")
            for mark in ("mark", "no mark")
        }

"""Edits of a head: what is said of them beforehand is what the edited model does."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from interpretable_sgd.analysis.editor import Editor, edit
from interpretable_sgd.analysis.edits import Edit, edits_of
from tests.analysis.classifiers import BUILD, CLASSES, UNITS, classifier, images, outputs

DTYPES = (torch.float32, torch.float64)
HOLDS = ("linear", "convolution")  # heads that can hold a unit at a value


def an_edit(held: bool) -> st.SearchStrategy[Edit]:
    unit, in_class = st.integers(0, UNITS - 1), st.none() | st.integers(0, CLASSES - 1)
    value = st.floats(-2, 2, width=32) if held else st.just(0.0)
    scaled = st.builds(Edit, st.just("scale"), unit, in_class, st.floats(-3, 3), value)
    disabled = st.builds(Edit, st.just("disable"), unit, in_class, st.just(0.0), value)
    moved = st.tuples(unit, unit, in_class).filter(lambda drawn: drawn[0] != drawn[1])
    return (
        scaled | disabled | moved.map(lambda drawn: Edit("move", drawn[0], drawn[2], to=drawn[1]))
    )


def assert_same(predicted, measured):
    assert torch.allclose(predicted.logits, measured.logits, rtol=1e-5, atol=1e-5)
    for before, after in ((predicted.before, measured.before), (predicted.after, measured.after)):
        assert before.overall == pytest.approx(after.overall, abs=1e-5)
        for one, other in ((before.by_class, after.by_class), (before.by_group, after.by_group)):
            assert torch.allclose(one, other, atol=1e-5, equal_nan=True)
    assert torch.equal(predicted.flipped, measured.flipped)
    assert (predicted.gained, predicted.lost) == (measured.gained, measured.lost)


@pytest.mark.parametrize("kind", BUILD)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_predicted_effect_is_the_measured_one(kind, data):
    """Any edits, also the same ones twice, on every kind of head, with groups."""
    seed, dtype = data.draw(st.integers(0, 5)), data.draw(st.sampled_from(DTYPES))
    edits = data.draw(st.lists(an_edit(kind in HOLDS), min_size=1, max_size=4))
    repeated = data.draw(st.booleans())
    model = classifier(kind, seed).to(dtype)
    batches = [(pixels.to(dtype), labels) for pixels, labels in images()]
    editor = edit(model, batches, groups=torch.arange(30) % 3).add(*edits, *edits[: int(repeated)])
    assert_same(editor.effect(), editor.measure())


@pytest.mark.parametrize("kind", BUILD)
def test_effect_is_that_of_a_model_edited_by_hand(kind):
    """The oracle writes the weights itself, and knows nothing of the analysis."""
    model = classifier(kind)
    found = (
        edit(model, images()).disable(4).scale(2, -0.5, in_class=3).move(1, 7, in_class=0).effect()
    )
    twin = classifier(kind)
    layer = next(
        m for m in twin.modules() if getattr(m, "weight", torch.zeros(0)).shape[:2] == (5, 12)
    )
    with torch.no_grad():
        layer.weight[:, 4] = 0
        layer.weight[3, 2] *= -0.5
        layer.weight[0, 7] += layer.weight[0, 1].clone()
        layer.weight[0, 1] = 0
    after = outputs(twin, images())
    labels = torch.cat([labels for _, labels in images()])
    assert torch.allclose(found.logits, after, atol=1e-9)
    before = outputs(model, images())
    assert found.before.overall == (before.argmax(1) == labels).double().mean()
    assert found.after.overall == (after.argmax(1) == labels).double().mean()
    assert found.flipped.tolist() == (before.argmax(1) != after.argmax(1)).nonzero()[:, 0].tolist()
    for c in range(CLASSES):
        own = after[labels == c].argmax(1) == c
        assert float(found.after.by_class[c]) == pytest.approx(float(own.double().mean()))


@settings(max_examples=10, deadline=None)
@given(edits=st.lists(an_edit(True), min_size=1, max_size=6), data=st.data())
def test_undo_takes_back_bit_for_bit(edits, data):
    model = classifier("linear")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    editor = edit(model, images()).add(*edits)
    count = data.draw(st.integers(0, len(edits)))
    again = edit(model, images()).add(*edits[: len(edits) - count])
    assert torch.equal(editor.undo(count).effect().logits, again.effect().logits)
    editor.undo(len(editor.edits))
    assert editor.edits == [] and len(editor.effect().flipped) == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_model_is_edited_inside_applied_and_as_it_was_afterwards():
    model = classifier("linear")
    weight = model[-1].weight.clone()
    editor = edit(model, images()).disable(3)
    with pytest.raises(KeyError), editor.applied() as inside:
        assert inside is model and not model[-1].weight[:, 3].any()
        raise KeyError
    assert torch.equal(model[-1].weight, weight)


def test_a_unit_held_at_its_mean_keeps_mean_logits():
    model = classifier("linear")
    found = edit(model, images()).disable(3, held=None).scale(5, 0.25, held=None).effect()
    assert torch.allclose(found.logits.mean(0), found.logits_before.mean(0))
    assert not torch.allclose(found.logits, found.logits_before)


def test_one_output_has_one_row_for_two_classes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    data = [(torch.randn(20, 4), torch.arange(20) % 2)]
    editors = [edit(model, data).disable(2, c).scale(1, 2.0, c, held=0.5) for c in (0, 1, None)]
    logits = [editor.effect().logits for editor in editors]
    assert torch.equal(logits[0], logits[1]) and torch.equal(logits[0], logits[2])
    assert_same(editors[0].effect(), editors[0].measure())


def test_labels_that_are_sets():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    data = [(torch.randn(20, 4), torch.rand(20, 3) < 0.5)]
    editor = edit(model, data, groups=["a", "b"] * 10).disable(2).move(1, 0)
    assert_same(editor.effect(), editor.measure())


def test_saved_weights_are_the_edited_ones_with_their_log(tmp_path):
    model = classifier("linear")
    editor = edit(model, images(), earlier=[Edit("disable", 9)])
    editor.disable(3, held=None).scale(1, 0.5, in_class=2).move(0, 1)
    path = editor.save(tmp_path / "edited.safetensors")
    twin = classifier("linear", seed=7)
    twin.load_state_dict(load_file(path))
    assert torch.equal(outputs(twin, images()), editor.measure().logits)
    assert edits_of(path) == (Edit("disable", 9), *editor.edits)
    assert edit(twin, images()).effect().logits_before.equal(editor.effect().logits)


def test_what_if_is_the_effect_of_each_edit_alone():
    editor = edit(classifier("linear"), images(), groups=torch.arange(30) % 2).disable(0)
    found = editor.what_if([1, 2], [(3, 4)])
    for row in found.rows:
        row = dict(zip(found.columns, row, strict=True))
        before = editor.effect()
        after = editor.disable(row["unit"], row["class"]).effect()
        editor.undo()
        assert row["change"] == pytest.approx(after.after.overall - before.after.overall)
        moved = (after.logits.argmax(1) != before.logits.argmax(1)).sum()
        assert row["decided otherwise"] == int(moved)
        assert row["worst group"] == pytest.approx(after.worst_group[1])
    assert sorted(found.column("decided otherwise"), reverse=True) == found.column(
        "decided otherwise"
    )
    assert len(editor.what_if().rows) == UNITS and len(editor.edits) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.disable(UNITS), r"unit must be in 0 \.\. 11, got 12"),
        (lambda e: e.disable(0, 5), r"in_class must be in 0 \.\. 4, got 5"),
        (lambda e: e.move(0, -1), r"to must be in 0 \.\. 11, got -1"),
        (lambda e: e.move(2, 2), "to must be another unit than the one that is moved, got 2"),
        (lambda e: e.scale(0, float("nan")), "factor and held must be finite, got nan"),
        (lambda e: e.undo(), r"count must be in 0 \.\. 0, the edits, got 1"),
        (lambda e: e.what_if([40]), r"unit must be in 0 \.\. 11, got 40"),
        (lambda e: e.save("weights.pt"), "path must end in .safetensors, got weights.pt"),
    ],
)
def test_what_cannot_be_done_is_said(change, message):
    with pytest.raises(ValueError, match=message):
        change(edit(classifier("linear"), images()))


@pytest.mark.parametrize("kind", ["linear without bias", "at most 3", "rectified convolution"])
def test_a_head_that_cannot_hold_a_value_says_so(kind):
    editor = edit(classifier(kind), images())
    editor.disable(0)
    with pytest.raises(ValueError, match="held must be 0 for head"):
        editor.disable(1, held=1.0)


def test_groups_and_images_are_checked():
    with pytest.raises(ValueError, match="groups must be 30, one for each image, got 2"):
        edit(classifier("linear"), images(), groups=["a", "b"])
    with pytest.raises(ValueError, match="loader must give at least one image, got none"):
        edit(classifier("linear"), [])
    editor = edit(classifier("linear"), loader := images())
    loader.reverse()
    with pytest.raises(ValueError, match="loader must give the same images in the same order"):
        editor.measure()


def test_a_weight_that_is_not_the_heads_own_is_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    data = [(torch.rand(6, 4), torch.arange(6) % 4)]
    model[2].weight = model[0].weight
    with pytest.raises(
        ValueError, match=r"weight of head '2' must be its own, it is 0\.weight as well"
    ):
        edit(model, data)
    computed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    with pytest.raises(ValueError, match="must be its own, it is computed"):
        edit(nn.Sequential(computed), data)


def test_an_editor_and_its_effect_as_text():
    names, units = ["cat", "<dog>", "cow", "pig", "hen"], [f"part {m}" for m in range(UNITS)]
    editor = edit(
        classifier("linear"),
        images(),
        groups=["snow", "grass"] * 15,
        class_names=names,
        unit_names=units,
    )
    editor.disable(3, in_class=1).move(2, 4)
    assert repr(editor) == "Editor(5 classes, 12 units, 30 images, 2 edits)"
    assert "disable part 3 in <dog>" in str(editor) and "move part 2 to part 4 in all" in str(
        editor
    )
    found = editor.effect()
    assert repr(found).startswith("Effect('disable part 3 in <dog>; move part 2 to part 4 in all")
    assert "snow" in str(found) and "images are decided otherwise" in str(found)
    assert "&lt;dog&gt;" in found._repr_html_() and "<dog>" not in found._repr_html_()
    assert isinstance(editor, Editor)

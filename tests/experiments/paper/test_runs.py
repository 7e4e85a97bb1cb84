"""A run end to end: trained, judged, stored, found again, resumed where it was cut."""

import dataclasses
import json
import signal

import numpy as np
import pytest
import torch

from experiments.evaluation.callbacks import spread
from experiments.evaluation.frozen import STRENGTHS
from experiments.evaluation.judging import read
from experiments.paper import store
from experiments.paper.grids import CONCEPTS
from experiments.paper.place import Place
from experiments.paper.planned import Planned
from experiments.paper.runs import Run
from interpretable_sgd.analysis.concepts import Broden

KEYS = {
    *store.KEY,
    "config",
    "hash",
    "top1",
    "top5",
    "validation_top1",
    "weights_per_class",
    "sparsity",
    "residual_at_5",
    "unit_labels",
    "accuracy_at_weights",
    "epochs",
    "n",
    "steps",
    "seconds",
    "hardware",
}


def test_a_run_is_trained_judged_and_stored(quick):
    run = quick()
    assert run.stored() is None
    steps = []
    done = run.train(lambda at: steps.append(at.step))
    assert steps == list(range(1, 13)) and run.steps == done["steps"] == 12
    assert set(done.record) == KEYS
    assert done["n"] == {"train": 48, "validation": 20, "test": 24}
    assert len(done["epochs"]) == 2
    wanted = {"loss", "lr", "train_top1", "validation_top1", "sparsity", "mean_iou"}
    assert set(done["epochs"][-1]) == wanted
    assert done["epochs"][-1]["validation_top1"] == pytest.approx(done["validation_top1"], abs=0.25)
    assert done["unit_labels"]["images"] == 20
    assert run.stored().record == done.record == quick().stored().record
    assert not (done.folder / store.CHECKPOINTS).exists()


def test_what_is_stored_is_the_net(quick):
    run = quick("resnet18_d5a", "sgd")
    done = run.train()
    model = run.prepare().model
    model.load_state_dict(done.weights())
    found, arrays = read(model, run.images.test), done.arrays
    assert found.top1 == done["top1"] and found.top(5) == done["top5"]
    assert np.array_equal(arrays["weight"], model.fc.weight.detach().numpy())
    some = spread(range(24), 8).indices
    assert np.allclose(arrays["logits"], found.logits[some], atol=1e-5)
    assert arrays["labels"].tolist() == found.labels[some].tolist()
    assert np.allclose(arrays["maps"].mean((2, 3)), arrays["units"], atol=1e-5)
    assert len(arrays["class_names"]) == 4 and arrays["unit_iou"].shape == (64,)


def test_routed_convolutions_are_stored_with_labels_of_both_sides(quick):
    arrays = quick("resnet18_d32_32_5a", "sgd").train().arrays
    assert arrays["inner:layer3.0"].shape == (32, 16)
    for side, units in (("in", 16), ("out", 32)):
        assert arrays[f"inner_{side}_iou:layer3.0"].shape == (units,)
        assert arrays[f"inner_{side}_names:layer3.0"].shape == (units,)


def test_sparse_heads_are_fitted_on_the_dense_nets_units(quick):
    found = quick("resnet18", "sgd").train()["sparse_heads"]
    assert len(found["weights"]) == len(found["accuracy"]) == len(STRENGTHS)


def test_a_run_that_was_cut_goes_on_and_is_the_uninterrupted_one(quick, tmp_path):
    run = quick()
    run.place.out.mkdir(parents=True)

    def cut(at):
        if at.step == 7:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run.train(cut)
    assert run.stored() is None and store.load(run.place.out) == []
    steps = []
    resumed = quick().train(lambda at: steps.append(at.step))
    assert steps == list(range(8, 13))
    elsewhere = dataclasses.replace(run.place, out=tmp_path / "elsewhere")
    whole = Run(run.planned, elsewhere, run.images).train()
    same = KEYS - {"seconds"}
    assert {k: resumed[k] for k in same} == {k: whole[k] for k in same}
    ours, theirs = resumed.weights(), whole.weights()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_seed_decides_weights_and_another_seed_other_ones(quick):
    first, again, other = (quick(seed=s).prepare().model.fc.weight for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_changed_configuration_is_another_run(quick):
    config = quick().config
    assert config == json.loads(json.dumps(config))
    assert quick(method="isgd floor=0").config != config
    assert config["optimizer"]["horizon"] == 5 and config["recipe"]["batch"] == 8
    assert config["versions"]["torch"] == torch.__version__


def test_a_recipe_may_be_changed_by_the_method(quick):
    assert quick(method="isgd batch=24 epochs=1").steps == 2


def test_curves_and_choices_need_images_that_are_held_out(tmp_path):
    place = Place(tmp_path, {"cifar10": "cifar10:hold_out=0"})
    with pytest.raises(ValueError, match=r"hold_out must be above 0.*got 0"):
        place.images(Planned("resnet18", "sgd", "cifar10", "tiny", 0))


def test_units_are_labelled_by_what_is_asked_for(quick, tmp_path):
    run = quick()
    own = run.place.labeller(run.images, "tiny", "test", 5)
    assert len(own.concepts) == 5 and len(own.concepts.table) == 6
    asked = Place(tmp_path, {CONCEPTS: CONCEPTS})
    theirs = asked.labeller(run.images, "tiny", "test", 7)
    assert len(theirs.concepts) == 7 and isinstance(theirs.concepts.whole, Broden)
    real = dataclasses.replace(run.images, drawn=None)
    assert run.place.labeller(real, "tiny", "test", 5) is None


def test_a_name_is_opened_where_it_lies():
    place = Place("out", {"places365": "places365:/data", CONCEPTS: "broden:/b"})
    assert place.text("places365") == "places365:/data"
    assert place.text("cifar10") == "cifar10" and place.text("scenes:size=24") == "scenes:size=24"

"""A run end to end: trained, evaluated, stored, found again, resumed where it was cut."""

import dataclasses
import json
import signal

import numpy as np
import pytest
import torch

from experiments import store
from experiments.datasets.dataset import even_subset
from experiments.datasets.synthetic.scenes import Scenes
from experiments.evaluation.metrics import read
from experiments.evaluation.sparse_heads import PostHoc
from experiments.methods import DENSE, OURS, changed, dynamic
from experiments.models.registry import Model
from experiments.paper.grids import INNER
from experiments.run import CONCEPTS, Environment, Protocol, Run, _data, scaled
from interpretable_sgd.analysis.concepts import Broden
from tests.experiments.conftest import DATA, QUICK, STRENGTHS, planned

KEYS = {
    *store.KEY,
    "config",
    "hash",
    "accuracy",
    "top5",
    "validation_accuracy",
    "split",
    "weights_per_class",
    "sparsity",
    "residual_at_5",
    "reach_95",
    "signed_residual",
    "unit_labels",
    "accuracy_at_weights",
    "epochs",
    "curves",
    "n",
    "steps",
    "seconds",
    "measuring_seconds",
    "hardware",
}


def test_a_run_is_trained_evaluated_and_stored(environment):
    run = planned()
    assert run.stored(environment) is None
    steps = []
    done = run.train(environment, lambda at: steps.append(at.step))
    assert steps == list(range(1, 13)) and done["steps"] == 12
    assert set(done.record) == KEYS
    assert done["n"] == {"train": 48, "validation": 20, "test": 24}
    assert [epoch["epoch"] for epoch in done["epochs"]] == [0, 1, 2] and done["curves"] == {}
    wanted = {"epoch", "loss", "lr", "train_accuracy", "validation_accuracy", "sparsity"}
    assert set(done["epochs"][-1]) == wanted | {"mean_iou"}
    last = done["epochs"][-1]["validation_accuracy"]
    assert last == pytest.approx(done["validation_accuracy"], abs=0.25)
    assert done["unit_labels"]["images"] == 20
    assert run.stored(environment).record == done.record == planned().stored(environment).record
    assert not (done.folder / store.CHECKPOINTS).exists()


def test_what_is_stored_is_the_network(environment):
    run = planned(dynamic(5))
    done, data = run.train(environment), environment.data(run)
    model = run.prepare(data).model
    model.load_state_dict(done.weights())
    found, arrays = read(model, data.test), done.arrays
    assert found.accuracy() == done["accuracy"] and found.accuracy(5) == done["top5"]
    assert np.array_equal(arrays["weight"], model.fc.weight.detach().numpy())
    some = even_subset(range(24), 8).indices
    assert np.allclose(arrays["logits"], found.logits[some], atol=1e-5)
    assert arrays["labels"].tolist() == found.labels[some].tolist()
    assert np.allclose(arrays["maps"].mean((2, 3)), arrays["units"], atol=1e-5)
    assert len(arrays["class_names"]) == 4 and arrays["unit_iou"].shape == (64,)
    own = data.source.composition[found.labels[some]]
    assert arrays["masks"].shape == (8, 6, 16, 16) and not arrays["masks"][~own.numpy()].any()


def test_routed_convolutions_are_stored_with_labels_of_both_sides(environment):
    arrays = planned(INNER[1]).train(environment).arrays
    assert arrays["inner:layer3.0"].shape == (32, 16)
    for side, units in (("in", 16), ("out", 32)):
        assert arrays[f"inner_{side}_iou:layer3.0"].shape == (units,)
        assert arrays[f"inner_{side}_names:layer3.0"].shape == (units,)


def test_sparse_heads_are_fitted_on_the_dense_networks_units(environment):
    found = planned(DENSE).train(environment)["sparse_heads"]
    assert len(found) == len(STRENGTHS) and found[0]["solver"] == "saga"


def test_a_run_that_was_cut_goes_on_and_is_the_uninterrupted_one(environment, tmp_path):
    run = planned(protocol=Protocol(curves=True, looked=16, shown=8))

    def cut(at):
        if at.step == 7:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run.train(environment, cut)
    assert run.stored(environment) is None and store.load(environment.out) == []
    steps = []
    resumed = run.train(environment, lambda at: steps.append(at.step))
    assert steps == list(range(8, 13))
    whole = run.train(dataclasses.replace(environment, out=tmp_path / "elsewhere"))
    same = KEYS - {"seconds", "measuring_seconds"}
    assert {k: resumed[k] for k in same} == {k: whole[k] for k in same}
    assert resumed["curves"]["loss"][0] == list(range(1, 13))
    ours, theirs = resumed.weights(), whole.weights()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_seed_decides_weights_and_another_seed_other_ones(environment):
    data = environment.data(planned())
    before = torch.get_rng_state()
    first, again, other = (planned(seed=s).prepare(data).model.fc.weight for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_methods_start_from_the_same_weights(environment):
    data = environment.data(planned())
    dense, *others = (
        planned(method).prepare(data).model.state_dict() for method in (DENSE, dynamic(5), OURS)
    )
    for other in others:
        assert all(torch.equal(v, other[k]) for k, v in dense.items())


def test_a_changed_configuration_is_another_run(environment):
    run = planned()
    data = environment.data(run)
    config = run.config(data, environment)
    assert config == json.loads(json.dumps(config))
    assert planned(changed(OURS, shrink=0)).config(data, environment) != config
    assert planned(warmup=0.05).config(data, environment) != config
    assert planned(checkpoint_every=3).config(data, environment) == config
    assert config["training"] == {"optimizer": "InterpretableSGD"}
    assert config["optimizer"]["block_size"] == 5 and config["recipe"]["batch"] == 8
    assert config["versions"]["torch"] == torch.__version__


def test_a_recipe_may_be_changed_by_the_method_and_scaled(environment):
    run = planned(changed(OURS, batch=24, epochs=4))
    data = environment.data(run)
    assert run.steps(data) == 8 and scaled(run, 0.5).steps(data) == 8  # the method has its say
    assert scaled(planned(), 0.5).steps(data) == 6 and scaled(run, 1) is run


def test_curves_and_choices_need_images_that_are_held_out(tmp_path):
    environment = Environment(tmp_path, {"cifar10": "cifar10:hold_out=0"})
    with pytest.raises(ValueError, match=r"hold_out must be above 0.*got 0"):
        environment.data(planned(data="cifar10"))


def test_a_literal_run_trains_on_all_images_and_its_curves_show_the_test(tmp_path, one_thread):
    environment, protocol = Environment(tmp_path), Protocol(watched=8, literal=True, shown=2)
    protocol = dataclasses.replace(protocol, post_hoc=PostHoc(STRENGTHS, 48))
    run = planned(DENSE, data="cifar10", protocol=protocol, epochs=1, batch=50)
    done = run.train(environment)
    assert done["n"] == {"train": 400, "test": 200} and done["validation_accuracy"] is None
    assert set(done["epochs"][-1]) >= {"train_accuracy", "test_accuracy"}
    assert "validation_accuracy" not in done["epochs"][-1]
    assert done["epochs"][-1]["test_accuracy"] == done["accuracy"]
    asked = Environment(tmp_path, {"cifar10": "cifar10:hold_out=4"})
    assert len(asked.data(run).validation) == 40


def test_units_are_labelled_by_what_is_asked_for(environment, tmp_path):
    data = environment.data(planned())
    own = environment.labeller(data, "tiny", "test", 5)
    assert len(own.concepts) == 5 and len(own.concepts.table) == 6
    asked = Environment(tmp_path, {CONCEPTS: CONCEPTS})
    theirs = asked.labeller(data, "tiny", "test", 7)
    assert len(theirs.concepts) == 7 and isinstance(theirs.concepts.whole, Broden)
    real = dataclasses.replace(data, source=None)
    assert environment.labeller(real, "tiny", "test", 5) is None
    assert environment.labeller(data, "tiny", "test", 0) is None


def test_a_name_is_opened_where_it_lies():
    environment = Environment("out", {"places365": "places365:/data", CONCEPTS: "broden:/b"})
    assert environment.text("places365") == "places365:/data"
    assert environment.text("cifar10") == "cifar10"
    assert environment.text("scenes:size=24") == "scenes:size=24"


def test_a_run_for_choices_draws_no_test_image(environment, monkeypatch):
    seen = set()
    tensors = Scenes.tensors

    def spied(self, split, which):
        seen.add(split)
        return tensors(self, split, which)

    monkeypatch.setattr(Scenes, "tensors", spied)
    _data.cache_clear()
    protocol = Protocol("validation", agreement=16, post_hoc=PostHoc((0.02,), cut=5))
    run = Run(DATA, Model("small_resnet"), DENSE, QUICK, protocol, "research", 0)
    record = run.train(environment)
    assert seen == {"train", "validation"} and record["split"] == "validation"
    assert record["accuracy"] == record["validation_accuracy"]
    assert record["n"] == {"train": 48, "validation": 20}
    names = [head["name"] for head in record["sparse_heads"]]
    assert names == ["L1 0.02", "L1 0.02, cut to 5, refitted", "cut to 5, refitted"]
    assert all("agreement" in head for head in (record.record, *record["sparse_heads"]))


def test_a_run_goes_on_from_the_weights_of_another(environment):
    start = planned(DENSE, protocol=Protocol())
    later = dataclasses.replace(start, scale="tuned", begin=start)
    with pytest.raises(ValueError, match="begin must be a finished run"):
        later.train(environment)
    begun = start.train(environment)
    # at a rate that moves nothing but the statistics of batch norm
    still = dataclasses.replace(later, recipe=start.recipe.changed({"lr": 1e-12}))
    weights = still.train(environment).weights()
    for name, tensor in begun.weights().items():
        if name.endswith("weight"):
            torch.testing.assert_close(weights[name], tensor, atol=1e-6, rtol=0)
    data = environment.data(start)
    assert later.config(data, environment)["begin"] == begun["hash"]

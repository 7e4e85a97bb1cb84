"""Images by name: every name gives what training and evaluation ask for, and errors at the door."""

import json
import re
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

from experiments.datasets import presets
from experiments.datasets.dataset import collate
from experiments.datasets.registry import REGISTRY, availability, open_data
from experiments.datasets.spec import DataError
from experiments.training.sampler import EpochSampler

SIZES = {"scenes": 24, "glyphs": 24, "digits": 8, "cifar10": 32, "places365": 32}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module", params=SIZES)
def images(request, out):
    return open_data(request.param, out=out)


def test_is_what_training_asks_for(images):
    shape = images.shape
    assert images.size == SIZES[images.name] and images.classes == len(images.class_names) >= 10
    assert len(images.train) == len(images.plain) > len(images.validation) > 70
    for image, label in (images.train[2, 7], images.plain[7], images.validation[7], images.test[7]):
        assert image.shape == shape and image.dtype == torch.float32
        assert type(label) is int and 0 <= label < images.classes
    assert images.train[2, 7][1] == images.plain[7][1]


def test_real_pictures_are_normalised_and_drawn_ones_as_they_are(images):
    """Mean and deviation of 140 images; the constants of real photographs are near those of scenes."""
    plain = torch.stack([images.plain[i][0] for i in range(0, 280, 2)])
    if images.name in ("cifar10", "places365"):
        assert abs(plain.mean()) < 0.25 and abs(plain.std() - 1) < 0.25
    else:
        numbers = list(range(0, 280, 2))
        drawn = images.source and images.source.tensors("train", numbers)[0]
        assert drawn is None or torch.equal(plain, drawn)


def test_every_class_is_validated_and_tested_equally(images):
    for part in (images.validation, images.test):
        counts = torch.bincount(torch.tensor([part[i][1] for i in range(len(part))]))
        assert len(counts) == images.classes and counts.max() - counts.min() <= 2


def test_validation_is_none_of_the_training_images(images):
    train = {images.plain[i][0].numpy().tobytes() for i in range(len(images.plain))}
    held = [images.validation[i][0].numpy().tobytes() for i in range(len(images.validation))]
    assert not train & set(held)


def test_identity_is_json_that_knows_what_decides(images, out):
    assert json.loads(json.dumps(images.identity)) == images.identity
    assert images.identity == open_data(images.name, out=out).identity
    assert images.identity != open_data(images.name, out=out, seed=1).identity


@pytest.mark.parametrize("name", ["cifar10", "places365"])
def test_hold_out(out, name):
    usual, none, two = (open_data(name, out=out, hold_out=each) for each in (None, 0, 2))
    assert none.validation is None and len(none.train) == len(usual.train) + len(usual.validation)
    assert len(two.validation) == 2 * two.classes
    assert len(two.train) + len(two.validation) == len(none.train)
    assert len({json.dumps(i.identity) for i in (usual, none, two)}) == 3
    assert open_data(f"{name}:hold_out=2", out=out).identity == two.identity


def test_the_seed_of_a_run_augments_and_holds_out_the_same(out):
    one, two = (open_data("cifar10", out=out, seed=seed) for seed in (0, 1))
    assert not torch.equal(one.train[0, 0][0], two.train[0, 0][0])
    assert torch.equal(one.plain[0][0], two.plain[0][0])
    assert torch.equal(one.validation[5][0], two.validation[5][0])


def test_a_path_is_read_instead(out):
    stand_in = open_data("cifar10", out=out)
    (folder,) = (out / "data").glob("cifar10-*")
    read = open_data(f"cifar10:{folder}", scale="paper")
    assert read.identity == stand_in.identity and read.source is None
    assert stand_in.source is not None


def test_places_at_another_size(tmp_path, monkeypatch):
    few = replace(presets.PLACES365["tiny"], train=2, test=1)
    monkeypatch.setitem(presets.PLACES365, "tiny", few)
    images = open_data("places365", out=tmp_path, size=40)
    assert images.train[0, 0][0].shape == (3, 40, 40) and images.source.size == 40
    (folder,) = (tmp_path / "data").glob("places365-*")
    read = open_data(f"places365:{folder},size=20,hold_out=0", scale="paper")
    assert read.test[0][0].shape == (3, 20, 20) and read.validation is None


def test_workers_change_nothing(out):
    images = open_data("places365", out=out)
    order = EpochSampler(len(images.train), 16, epochs=1, seed=0)
    batches = [
        [
            images
            for images, _ in DataLoader(
                images.train, batch_sampler=order, num_workers=workers, collate_fn=collate
            )
        ]
        for workers in (0, 2)
    ]
    assert len(batches[0]) == 18 and torch.equal(*map(torch.stack, batches))


def test_options_of_drawn_images():
    images = open_data("scenes:size=32,classes=10,noise=0,train=30,test=12", scale="small")
    assert (images.size, images.classes, len(images.train), len(images.test)) == (32, 10, 30, 12)
    assert images.identity["noise"] == 0 and images.identity["train"] == 30
    source = images.source.tensors("test", [11])[0][0]
    assert torch.equal(images.test[11][0], source)


def test_large_splits_are_drawn_when_asked_for(monkeypatch):
    held = open_data("scenes:train=30")
    monkeypatch.setattr("experiments.datasets.registry.IN_MEMORY", 0)
    streamed = open_data("scenes:train=30")
    assert torch.equal(held.train[1, 29][0], streamed.train[1, 29][0])
    assert type(streamed.train[1, 29][1]) is int


@pytest.mark.parametrize(
    "text, options, said",
    [
        (
            "svhn",
            {},
            "name must be one of cifar10, places365, fashion, mnist, letters, satellite, mails,",
        ),
        ("scenes", {"scale": "big"}, "scale must be one of tiny, small, paper, got 'big'"),
        ("scenes:/data", {}, "scenes are drawn and take options alone, got '/data'"),
        ("scenes:colour=3", {}, "an option of scenes must be one of size, classes, concepts"),
        ("scenes:size=big", {}, "size of scenes must be an integer, got 'big'"),
        ("scenes:noise=loud", {}, "noise of scenes must be a number, got 'loud'"),
        ("scenes:size=32", {"size": 64}, "size must be given once, got 32 and 64"),
        ("scenes:train=0", {}, "train must be an integer of at least 1, got 0"),
        ("scenes", {"hold_out": 3}, "hold_out must be None for scenes, which have validation"),
        (
            "digits:size=9",
            {},
            "an option of digits must be one of seed, train, validation, test, got",
        ),
        ("cifar10", {"size": 64}, "size must be 32 for cifar10, got 64"),
        (
            "cifar10:/d,train=9",
            {},
            "an option of cifar10 must be one of size, hold_out, got 'train'",
        ),
    ],
)
def test_errors_at_the_door(text, options, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        open_data(text, **options)


@pytest.mark.parametrize("name, page", [("cifar10", "cs.toronto.edu"), ("places365", "csail.mit")])
def test_the_paper_needs_a_path(name, page):
    said = f"{name} must have a path at scale paper, {name}:PATH, of .*{page}.*; got none"
    with pytest.raises(DataError, match=said):
        open_data(name, scale="paper")


def test_a_path_with_commas():
    with pytest.raises(DataError, match="/no,such=folder/here must be or hold"):
        open_data("cifar10:/no,such=folder/here,hold_out=0")


def test_what_is_at_hand_is_said(tmp_path):
    found = availability({"cifar10": f"cifar10:{tmp_path}"}, "paper")
    assert set(found) == set(REGISTRY)
    assert found["cifar10"] == f"at {tmp_path}" and found["digits"] == "drawn"
    assert found["places365"].startswith("missing: places365_standard with train/CLASS")
    assert availability({}, "tiny")["places365"] == "a stand-in is drawn"
    assert availability({}, "small")["mnist"].startswith("missing: a folder with train-images-idx3")

"""What holds for every generated data set; each test runs on all cases."""

import pickle
from dataclasses import fields

import pytest
import torch
from torch.utils.data import DataLoader

from experiments.datasets.synthetic.glyphs import Glyphs
from experiments.datasets.synthetic.scenes import Scenes

CASES = {
    "scenes": Scenes(),
    "crowded scenes": Scenes(distractors=6, clutter=9, jitter=1.0, seed=3),
    "small scenes": Scenes(size=16, classes=5, concepts=6, distractors=0, clutter=0),
    "large scenes": Scenes(size=224, classes=365, concepts=64),
    "glyphs": Glyphs(),
    "crowded glyphs": Glyphs(size=60, distractors=5, seed=3),
    "many glyphs": Glyphs(classes=365, concepts=64),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def source(request):
    return request.param


def count(source, images):
    return images if source.size < 100 else max(2, images // 25)


def test_shapes_types_and_range(source):
    images, labels = source.tensors("train", 3)
    assert images.shape == (3, source.channels, source.size, source.size)
    assert images.dtype == torch.float32 and images.isfinite().all()
    assert labels.dtype == torch.int64
    masks = source.masks("train", 3)
    assert masks.shape == (3, source.concepts, source.size, source.size)
    assert masks.dtype == torch.bool
    assert len(source.class_names) == source.classes == len(set(source.class_names))
    assert len(source.concept_names) == source.concepts == len(set(source.concept_names))


def test_composition_rows_are_distinct_and_none_contains_another(source):
    rows = source.composition
    assert rows.shape == (source.classes, source.concepts) and rows.dtype == torch.bool
    contains = rows.float() @ rows.float().T == rows.sum(1)
    assert torch.equal(contains, torch.eye(source.classes, dtype=torch.bool))


def test_every_concept_is_used_about_equally_often(source):
    use = source.composition.sum(0)
    assert use.min() >= 1 and use.max() - use.min() <= 2


def test_same_seed_is_bit_equal_and_seeds_differ(source):
    twin = type(source)(**arguments_of(source))
    assert twin == source
    assert torch.equal(twin.tensors("test", 4)[0], source.tensors("test", 4)[0])
    other = type(source)(**(arguments_of(source) | {"seed": source.seed + 1}))
    assert not torch.equal(other.tensors("test", 4)[0], source.tensors("test", 4)[0])
    assert not torch.equal(other.composition, source.composition)


def arguments_of(source):
    return {field.name: getattr(source, field.name) for field in fields(source)}


def test_streamed_equals_in_memory(source):
    n = count(source, 600)
    images, labels = source.tensors("validation", n)
    streamed = source.split("validation", n)
    assert len(streamed) == n
    for i in [0, 1, n // 2, n - 1]:
        image, label = streamed[i]
        assert torch.equal(image, images[i]) and label == labels[i] == i % source.classes
    assert torch.equal(streamed[-1][0], images[-1])
    assert torch.equal(source.tensors("validation", [n - 1, 0])[0], images[[n - 1, 0]])
    with pytest.raises(IndexError, match=f"index must be between -{n} and {n - 1}, got {n}"):
        streamed[n]


def test_a_loader_with_workers_gives_the_same_images(source):
    loader = DataLoader(pickle.loads(pickle.dumps(source.split("train", 4))), batch_size=4)
    images, labels = next(iter(loader))
    assert torch.equal(images, source.tensors("train", 4)[0])
    assert labels.tolist() == source.tensors("train", 4)[1].tolist()


def test_splits_share_no_image(source):
    parts = [source.tensors(split, 5)[0].flatten(1) for split in ("train", "validation", "test")]
    every = torch.cat(parts)
    assert len(every.unique(dim=0)) == len(every)


def test_the_global_generators_are_not_touched(source):
    before = torch.get_rng_state()
    source.tensors("train", 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_image_shows_all_concepts_of_another_class(source):
    shown = source.shown("train", 800)
    complete = shown.float() @ source.composition.float().T == source.composition.sum(1)
    labels = torch.arange(800) % source.classes
    assert torch.equal(complete, torch.nn.functional.one_hot(labels, source.classes).bool())


def test_distractors_occur_and_are_bounded(source):
    own = source.composition[torch.arange(800) % source.classes]
    extra = (source.shown("train", 800) & ~own).sum(1)
    assert extra.max() <= source.distractors
    assert source.distractors == 0 or extra.max() >= 2


def test_masks_show_what_the_image_shows_and_never_overlap(source):
    n = count(source, 400)
    masks, shown = source.masks("test", n), source.shown("test", n)
    assert masks.sum(1).max() == 1
    visible = masks.flatten(2).any(2)
    assert not (visible & ~shown).any()
    own = source.composition[source.tensors("test", n)[1]]
    assert visible[own].all()
    assert masks.flatten(2).sum(2)[own].min() >= 5


@pytest.mark.parametrize("kind", [Scenes, Glyphs])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 8}, "size must be an integer of at least 1[68], got 8"),
        ({"size": 24.0}, "size must be an integer of at least 1[68], got 24.0"),
        ({"classes": 1}, "classes must be an integer of at least 2, got 1"),
        ({"concepts": 2}, "concepts must be an integer between [34] and 2.., got 2"),
        (
            {"concepts": 300},
            "concepts must be an integer between [34] and 2.., got 300",
        ),
        (
            {"classes": 900},
            r"classes must be at most \d+ when concepts is 1[26], got 900",
        ),
        ({"distractors": -1}, "distractors must be an integer .*, got -1"),
        ({"noise": -0.1}, "noise must be between 0.0 and [12].0, got -0.1"),
        ({"noise": float("nan")}, "noise must be between 0.0 and [12].0, got nan"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"seed": True}, "seed must be an integer of at least 0, got True"),
    ],
)
def test_bad_arguments_are_named(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


def test_bad_requests_are_named(source):
    message = "split must be one of train, validation, test, got 'dev'"
    for ask in (source.tensors, source.masks, source.shown, source.split):
        with pytest.raises(ValueError, match=message):
            ask("dev", 2)
    for ask in (source.tensors, source.masks, source.shown):
        with pytest.raises(ValueError, match="which must be an integer of at least 1, got 0"):
            ask("train", 0)
        with pytest.raises(ValueError, match=r"which must list .* at least 0, got \[3, -1\]"):
            ask("train", [3, -1])
    with pytest.raises(ValueError, match="n must be an integer of at least 1, got 0"):
        source.split("train", 0)

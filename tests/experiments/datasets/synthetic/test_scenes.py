"""Scenes: exact masks under occlusion, visibility, and arguments of their own."""

import numpy as np
import pytest
import torch

from experiments.datasets.rng import Streams
from experiments.datasets.synthetic import shapes
from experiments.datasets.synthetic.scenes import (
    DARK,
    Poses,
    Scenes,
    draw_poses,
    local_frame,
)


def test_without_noise_and_jitter_a_pixel_has_its_concepts_colour_exactly_in_the_mask():
    scenes = Scenes(size=40, distractors=5, noise=0.0, jitter=0.0)
    images, _ = scenes.tensors("test", 60)
    masks = scenes.masks("test", 60)
    colours = torch.tensor(list(shapes.COLOURS.values()))
    for c, colour in enumerate(colours):
        coloured = torch.zeros(60, 40, 40, dtype=torch.bool)
        for shade in (colour, colour * float(DARK)):
            coloured |= (images == shade[:, None, None]).all(1)
        named = [shapes.concept_parts(k)[1] == c for k in range(scenes.concepts)]
        assert torch.equal(coloured, masks[:, named].any(1))


def literal_scene(concepts, poses, size):
    """Topmost concept of every pixel, by asking each pixel for each object."""
    owner = np.full((1, size, size), -1)
    for row in range(size):
        for column in range(size):
            for t, concept in enumerate(concepts):
                x = (np.float32(column + 0.5) - poses.x[0, t]) / poses.radius[0, t]
                y = (np.float32(row + 0.5) - poses.y[0, t]) / poses.radius[0, t]
                c, s = poses.cosine[0, t], poses.sine[0, t]
                region = list(shapes.SHAPES.values())[shapes.concept_parts(concept)[0]]
                if region(c * x + s * y, c * y - s * x):
                    owner[0, row, column] = concept
    return owner


def test_later_objects_hide_earlier_ones_pixel_by_pixel():
    # four objects within two radii of one another
    size, concepts = 20, [3, 0, 6, 9]
    lean = np.array([[0.1, -0.2, 0.05, 0.0]], dtype=np.float32)
    poses = Poses(
        x=np.array([[7, 10, 11, 8.5]], dtype=np.float32),
        y=np.array([[8, 7, 11, 12]], dtype=np.float32),
        radius=np.array([[6, 5, 4.5, 5]], dtype=np.float32),
        cosine=(1 - lean**2) / (1 + lean**2),
        sine=2 * lean / (1 + lean**2),
    )
    images = np.zeros((1, 3, size, size), dtype=np.float32)
    owner = np.full((1, size, size), -1, dtype=np.int16)
    for t, concept in enumerate(concepts):
        frame = local_frame(poses, t, size)
        Scenes()._paint(images, owner, np.array([concept]), frame, np.ones((1, 3), np.float32))
    assert np.array_equal(owner, literal_scene(concepts, poses, size))
    assert set(np.unique(owner)) == {-1, *concepts}
    assert np.array_equal((images > 0).any(1), owner >= 0)


def test_objects_do_hide_parts_of_others_and_those_of_the_class_lie_on_top():
    scenes = Scenes(size=48, distractors=6, jitter=0.0)
    own = scenes.composition[torch.arange(1000) % scenes.classes]
    areas = scenes.masks("train", 1000).flatten(2).sum(2)
    for concept in range(scenes.concepts):
        extra = areas[~own[:, concept] & (areas[:, concept] > 0), concept]
        full = areas[:, concept].max()
        assert (extra < 0.8 * full).any()
        # only two others of the class, or the border, can hide it
        assert areas[own[:, concept], concept].min() >= 0.3 * full


@pytest.mark.parametrize("slots", [3, 5, 9, 10])
def test_no_object_reaches_the_centre_of_another(slots):
    poses = draw_poses(Streams(0, "train", range(300)), 24, slots, jitter=1.0)
    place = np.stack([poses.x, poses.y], 2)
    distance = np.linalg.norm(place[:, :, None] - place[:, None], axis=3)
    distance[:, range(slots), range(slots)] = np.inf
    assert (distance > 1.1 * poses.radius[:, None, :]).all()


def test_shapes_fill_the_unit_disc_and_differ():
    x, y = np.meshgrid(*[np.linspace(-1.2, 1.2, 97, dtype=np.float32)] * 2)
    regions = np.stack([region(x, y) for region in shapes.SHAPES.values()])
    assert not regions[:, x * x + y * y > 1.01].any()
    assert (regions.mean((1, 2)) > 0.1).all()
    for a in range(len(regions)):
        for b in range(a):
            assert (regions[a] != regions[b]).mean() > 0.02


def test_noise_changes_pixels_but_no_mask():
    clean, noisy = Scenes(noise=0.0), Scenes(noise=0.4)
    assert torch.equal(clean.masks("train", 20), noisy.masks("train", 20))
    images, _ = noisy.tensors("train", 20)
    assert not torch.equal(images, clean.tensors("train", 20)[0])
    assert images.min() >= 0 and images.max() <= 1


def test_class_names_are_those_of_its_concepts():
    scenes = Scenes()
    for name, row in zip(scenes.class_names, scenes.composition, strict=True):
        parts = name.split(" + ")
        assert parts == [scenes.concept_names[k] for k in row.nonzero().flatten()]
        assert len(parts) in (2, 3)


@pytest.mark.parametrize("size", [24, 32, 64, 224])
@pytest.mark.parametrize(("classes", "concepts"), [(24, 16), (100, 32), (365, 48), (365, 288)])
def test_sizes_from_small_to_places365(size, classes, concepts):
    scenes = Scenes(size=size, classes=classes, concepts=concepts)
    image, label = scenes.split("train", 10**6)[classes - 1]
    assert image.shape == (3, size, size) and label == classes - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clutter": -1}, "clutter must be an integer of at least 0, got -1"),
        ({"jitter": 1.5}, "jitter must be between 0.0 and 1.0, got 1.5"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scenes(**arguments)

"""The stand-in of Broden says of every pixel what the scene shows there, and its folder is found."""

import csv
import re
import shutil

import numpy as np
import pytest
import torch

from experiments.datasets.broden import PAGE, SPLIT, find, write_broden
from experiments.datasets.presets import StandIn
from experiments.datasets.spec import DataError
from experiments.datasets.synthetic import shapes
from experiments.datasets.synthetic.scenes import Scenes
from interpretable_sgd.analysis.concepts import Broden

N = 6
# enough concepts that label numbers need a second byte
SCENES = Scenes(size=24, classes=150, concepts=280, distractors=3, noise=0.0)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("broden")
    write_broden(root, StandIn(SCENES, train=1, test=1, labelled=N))
    return root


def test_labels_say_what_the_scene_shows(written):
    broden = Broden(find(written))
    concepts = {concept.number: concept for concept in broden.table.concepts}
    images, classes = SCENES.tensors(SPLIT, N)
    masks = SCENES.masks(SPLIT, N)[:, :, ::2, ::2]
    assert len(broden) == N and broden.categories == ["color", "object", "material", "scene"]
    highest = 0
    for n in range(N):
        sample = broden[n]
        assert (sample.image / 255 - images[n]).abs().mean() < 0.03
        assert sample.size == (12, 12)
        *planes, scene = sample.labels
        assert concepts[scene].name == SCENES.class_names[classes[n]] + "-s"
        seen = masks[n].flatten(1).any(1).nonzero().flatten().tolist()
        for plane, category in zip(planes, ("color", "object", "material"), strict=True):
            expected = np.full((12, 12), "", dtype=object)
            for k in seen:
                expected[masks[n, k].numpy()] = word(k, category)
            names = {0: ""} | {int(l): concepts[int(l)].name for l in np.unique(plane) if l}
            assert {concepts[l].category for l in names if l} == {category}
            assert (np.vectorize(names.get)(plane) == expected).all()
            highest = max(highest, int(plane.max()))
    assert highest > 255


def word(concept, category):
    colour, texture, _ = shapes.concept_name(concept).split()
    return {"color": colour + "-c", "material": texture}.get(category, shapes.concept_name(concept))


def test_tables_count(written):
    root = find(written)
    rows = {row["name"]: row for row in csv.DictReader((root / "c_color.csv").open(newline=""))}
    masks = SCENES.masks(SPLIT, N)[:, :, ::2, ::2]
    colours = torch.tensor([shapes.concept_parts(k)[1] for k in range(SCENES.concepts)])
    for number, name in enumerate(shapes.COLOURS):
        own = masks[:, colours == number].any(1)
        assert int(rows[name + "-c"]["frequency"]) == own.flatten(1).any(1).sum()
        assert float(rows[name + "-c"]["coverage"]) == pytest.approx(own.float().mean((1, 2)).sum())
    labels = list(csv.DictReader((root / "label.csv").open(newline="")))
    assert [int(row["number"]) for row in labels] == list(range(1, 6 + 280 + 4 + 150 + 1))
    split = [row["split"] for row in csv.DictReader((root / "index.csv").open(newline=""))]
    assert split == ["train", "train", "train", "val", "train", "train"]


@pytest.mark.parametrize("place", ["", "broden1_224", "broden1_224/images"])
def test_finds_the_folder_from_near_it(written, place):
    assert find(written / place) == written / "broden1_224"


def test_what_is_missing_is_named(written, tmp_path):
    root = shutil.copytree(written, tmp_path / "data") / "broden1_224"
    (root / "label.csv").unlink()
    shutil.rmtree(root / "images")
    with pytest.raises(
        DataError, match=r"it lacks label\.csv, images/, found a folder with c_color"
    ):
        find(root)
    said = re.escape(f"broden1_224.zip of {PAGE} unpacks to; found nothing")
    with pytest.raises(DataError, match=said):
        find(tmp_path / "a" / "none")

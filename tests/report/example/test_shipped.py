"""The report that comes with the package: small, quick to make, and about what it says it is about."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.example.drawings import PLACES, THINGS, drawn
from interpretable_sgd import analysis
from interpretable_sgd.report import example
from interpretable_sgd.report.example import shipped

DATA = Path(shipped.__file__).parent


@pytest.fixture(scope="module")
def study() -> analysis.Study:
    return example.study()


def test_it_is_small() -> None:
    files = [
        path for path in DATA.iterdir() if path.suffix in (".webp", ".png", ".json", ".safetensors")
    ]
    assert len(files) == 4
    assert sum(path.stat().st_size for path in files) < 1_000_000


def test_every_part_of_a_report_is_there(study: analysis.Study) -> None:
    assert study.dissection is not None and study.explanations and study.exemplars
    assert {"training", "compared", "stability", "ablation", "confusion"} <= study.tables.keys()
    assert study.class_names == tuple(PLACES)
    assert study.metrics["weights_per_class"].value <= 5
    assert study.decisions.accuracy > 0.85
    assert any(not one.is_right for one in study.explanations)


def test_places_are_read_by_their_things(study: analysis.Study) -> None:
    """Most units can be named, and classes are made of the things that make the place."""
    assert study.metrics["detectors"].value >= 10
    assert study.metrics["concept_f1"].value > 0.5


def test_its_pictures_are_those_that_the_script_draws() -> None:
    """WebP is lossy: close, and the masks to the pixel."""
    again = drawn(400, np.random.default_rng(2))
    pictures = shipped._tiles("pictures.webp", "RGB").numpy()
    masks = shipped._tiles("masks.png", "L")[..., 0].numpy()
    assert np.abs(pictures.astype(int) - again.images).mean() < 6
    assert (masks == again.things[200:]).all()
    facts = json.loads((DATA / "facts.json").read_text())
    assert facts["things"] == list(THINGS) and list(facts["places"]) == list(PLACES)

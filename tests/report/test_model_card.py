"""Model cards: numbers are the study's, what nobody measured is left open, names cannot break out."""

import json
import re

import pytest

from interpretable_sgd.report import model_card, write_card
from interpretable_sgd.report.model_card import OWN
from tests.report.pages import hostile_study, page_study


@pytest.fixture(scope="module")
def study():
    return page_study(config={"images": "squares/", "edits": ["disable unit 3 in class 1"]})


def test_numbers_are_those_of_the_study(study, tmp_path):
    card = json.loads(write_card(study, tmp_path / "new" / "card.json").read_text())
    assert card == model_card(study)
    assert card["accuracy"]["overall"] == study.metrics["accuracy"].value
    assert card["accuracy"]["interval"] == list(study.metrics["accuracy"].interval)
    assert [c["images"] for c in card["accuracy"]["classes"]] == [c.images for c in study.classes]
    assert [c["accuracy"] for c in card["accuracy"]["classes"]] == [
        c.accuracy for c in study.classes
    ]
    assert card["calibration"]["expected error"] == study.metrics["calibration_error"].value
    assert card["model"]["hash"] == study.provenance["model_hash"]
    assert card["versions"] == study.provenance["versions"]
    assert card["edits"] == ["disable unit 3 in class 1"]


def test_what_nobody_measured_is_left_to_the_owner(study, tmp_path):
    assert set(model_card(study)["own"].values()) == {None}
    text = write_card(study, tmp_path / "card.md").read_text()
    assert text.count("| **to be filled in**: ") == len(OWN)
    own = {"intended use": "sorting | squares\nin class"}
    filled = write_card(study, tmp_path / "card.md", own).read_text()
    assert filled.count("| **to be filled in**: ") == len(OWN) - 1
    assert "| **intended use** | sorting \\| squares in class |" in filled


def test_the_text_says_what_the_numbers_are(study, tmp_path):
    text = write_card(study, tmp_path / "card.md").read_text()
    assert text.startswith("# Model card: squares \\& co\n") and "\n\n\n" not in text
    for heading in (
        "The model",
        "Use",
        "Data of this card",
        "How often it is right",
        "Limits",
        "Edits",
    ):
        assert f"\n## {heading}\n" in text
    assert "images from squares/." in text and "- disable unit 3 in class 1" in text
    assert "All numbers are of the images named here" in text
    assert "The class least often right is" in text


def test_a_model_without_edits_says_so(tmp_path):
    text = write_card(page_study(), tmp_path / "card.md").read_text()
    assert "None: the weights are as they were trained" in text


def test_hostile_names_are_text(tmp_path):
    text = write_card(hostile_study(), tmp_path / "card.md").read_text()
    assert not re.search(r"(?<!\\)<", text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) in (3, 6) for row in rows)


def test_what_cannot_be_written_is_said(study, tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.md or \.json, got .*card\.txt"):
        write_card(study, tmp_path / "card.txt")
    with pytest.raises(ValueError, match=r"own must have fields among intended use, .*, got 'use'"):
        model_card(study, {"use": "x"})

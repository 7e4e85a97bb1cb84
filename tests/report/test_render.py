"""The page as a file: self-contained, escaped, complete, and no larger than it may be."""

import base64
import dataclasses
import gzip
import json
import re
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
import torch

from interpretable_sgd import report
from interpretable_sgd.analysis import name_units
from interpretable_sgd.analysis import study as study_of
from interpretable_sgd.analysis.exemplars import Exemplar
from interpretable_sgd.analysis.study.cards import Use
from tests.analysis.known_truth import images, network
from tests.report.pages import HOSTILE, hostile_study, page_study

EMPTY = {"meta", "link", "img", "br", "input", "line"}
LOADING = {"src", "href", "srcset", "data", "action", "poster", "formaction", "background"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; complains about elements that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open, self.links = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.links += [value for name, value in attributes if name in LOADING]
        if tag not in EMPTY or tag == "line":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.links += [value for name, value in attributes if name in LOADING]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture(scope="module")
def study():
    return page_study()


def test_words_of_units_stand_in_their_table_and_in_doubt_where_they_are_chance():
    pixels, labels, masks = images()
    shown = masks.flatten(2).any(2).float()
    units = torch.cat([pixels.mean((2, 3))[:, :2], torch.rand(len(shown), 1)], 1)
    named = name_units(units, shown, torch.eye(3), ["rot", "grün", "blau"])
    named.null[:, 2] = 1.0
    page = report.render(study_of(network(), [(pixels, labels)], named=named))
    text = " ".join("".join(Page(page).text).split())
    assert (
        "2 units of 3 can be named by a word" in text
        and "by the embeddings that were given" in text
    )
    assert f"{named.word_of(2)}?" in text and "rot?" not in text.replace(f"{named.word_of(2)}?", "")


def test_sets_are_told_in_words():
    pixels, labels, _ = images(seed=5)
    text = " ".join(
        "".join(Page(report.render(page_study(calibration=[(pixels, labels)]))).text).split()
    )
    assert "was learnt from 60 other images" in text
    assert "red green, kept in by red +0.01, green +0.01" in text


@pytest.fixture(scope="module")
def text(study, tmp_path_factory):
    path = report.write(study, tmp_path_factory.mktemp("page") / "new" / "report.html")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_nothing_is_loaded_from_elsewhere(text, page):
    assert all(link.startswith(("data:", "#")) for link in page.links)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert page.count("script") == 1 and page.count("iframe") == page.count("object") == 0


def test_every_section_and_anchor_is_there(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    sections = [a["id"] for tag, a in page.elements if tag == "section"]
    assert sections == [
        *("decisions", "residuals", "classes", "units", "errors", "pairs", "ablation"),
        *("what-if", "composition", "accuracy", "stability", "figures", "provenance"),
    ]
    anchors = [link[1:] for link in page.links if link.startswith("#")]
    assert set(anchors) <= set(ids)


def test_parts_rest_bias_and_logit_are_said(study, page):
    said = " ".join(page.text)
    for image in study.explanations:
        assert f"image {image.index}" in said
        for score in image.scores:
            assert f"logit +{score.logit:.2f}" in said
    assert said.count("other unit") >= len(study.explanations) and "bias" in said


def test_numbers_behind_pictures_can_be_saved(study, page):
    saved = {
        a["download"]: unquote(a["href"].partition(",")[2])
        for tag, a in page.elements
        if tag == "a" and "download" in a
    }
    for name, table in study.tables.items():
        assert saved[f"{name}.csv"] == table.to_csv(study.source)
    assert json.loads(saved["report.json"]) == json.loads(study.to_json())


def test_many_numbers_are_packed(study, monkeypatch):
    # the name of the module is that of its function
    monkeypatch.setattr(sys.modules[report.render.__module__], "PACKED_ABOVE", 100)
    (link,) = re.findall(
        r'href="data:application/gzip;base64,([^"]*)" download="report.json.gz"',
        report.render(study),
    )
    content = gzip.decompress(base64.b64decode(link)).decode()
    assert json.loads(content) == json.loads(study.to_json())


def test_what_is_true_what_was_predicted_and_how_sure(study, page):
    said = " ".join(" ".join(page.text).split())
    for image in study.explanations:
        assert f"True: {image.label_name}" in said and f"Predicted: {image.predicted.name}" in said
        assert f"margin of {image.margin.total:.2f}" in said
    assert said.count("What decided between them") == len(study.explanations)
    assert study.provenance["created"][:10] in said


def test_every_unit_of_a_decision_leads_to_its_row(study, page):
    linked = {link for link in page.links if link.startswith("#unit-")}
    assert linked == {
        f"#unit-{r.unit}" for i in study.explanations for s in i.scores for r in s.reasons
    } | {f"#unit-{use.unit}" for card in study.classes for use in card.uses}


def test_units_come_by_their_share_and_classes_without_images_last(study):
    cards = [dataclasses.replace(study.classes[0], images=0, hits=0), *study.classes[1:]]
    page = report.render(dataclasses.replace(study, classes=tuple(cards)))
    assert re.findall(r'id="class-(\d)"', page) == ["1", "2", "0"]
    assert "1 class without images" in page and page.index('class="others"') > page.index(
        '"class-2"'
    )
    order = sorted(study.units, key=lambda unit: -unit.mass)
    assert re.findall(r'<tr id="unit-(\d)"', page) == [str(unit.unit) for unit in order]


def test_pictures_have_words(page):
    for tag, attributes in page.elements:
        if tag == "img":
            assert attributes["alt"] and attributes["width"] and attributes["height"]
    drawings = [a for tag, a in page.elements if tag == "svg" and a.get("role") == "img"]
    assert drawings and page.count("title") > len([a for a in drawings if "aria-label" not in a])


def test_hostile_names_are_text():
    page = Page(report.render(hostile_study()))
    plain = Page(report.render(page_study()))
    for tag in ("script", "img", "b", "style", "title"):
        assert page.count(tag) == plain.count(tag), tag
    said = "".join(page.text)
    for name in HOSTILE:
        assert name in said
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)


def test_the_policy_allows_the_own_script_alone(text):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1)
    assert "default-src 'none'" in policy and re.search(r"script-src 'sha256-[\w+/=]{44}'", policy)


def test_without_concepts_and_maps():
    from interpretable_sgd.analysis import study

    pixels, labels, _ = images()
    page = Page(report.render(study(network(), [(pixels, labels)], explained=0, pictures=0)))
    said = " ".join(page.text)
    assert "No concept data was given" in said and "Decisions, taken apart" not in said
    assert "IoU" not in "".join(page.text[page.text.index("Units") :][:40])


def test_what_each_unit_is_worth_is_said(study, page):
    said = " ".join(" ".join(page.text).split())
    row = next(r for r in study.tables["what_if"].rows if r[2] is None)
    images = len(study.decisions)
    assert row[6] > 0
    assert f"{row[6]} of {images} images would be decided otherwise: {row[8]} for the worse" in said


def test_a_second_model_stands_beside_the_first():
    other = network()
    with torch.no_grad():
        other[-1].weight[0] = 0
    found = page_study(beside=other, beside_name="<b>other</b>")
    page = Page(report.render(found))
    said = " ".join(" ".join(page.text).split())
    assert "beside" in [a["id"] for tag, a in page.elements if tag == "section"]
    assert found.comparison is not None
    alone = int(found.comparison.outcomes[0, 1])
    assert "only squares & co" in said and f"only <b>other</b> on {alone}, none" in said
    assert len(found.tables["beside"].rows) == 6
    assert {row[2] for row in found.tables["beside"].rows if row[0] == 0} == {"first"}


def test_skipped_images_are_named(study):
    skipped = tuple((f"broken-{i}.jpg", "cut off") for i in range(25))
    said = " ".join(Page(report.render(dataclasses.replace(study, skipped=skipped))).text)
    assert "25 files could not be read" in said and "broken-19.jpg" in said and "and 5 more" in said


def many_classes(study, classes):
    """As many classes, five units of its own each, four pictures of noise each: none compresses worse."""
    generator = torch.Generator().manual_seed(0)
    units = tuple(dataclasses.replace(study.units[m % 3], unit=m) for m in range(5 * classes))
    cards = tuple(
        dataclasses.replace(
            study.classes[c % 3],
            index=c,
            name=f"class {c}",
            uses=tuple(Use(m, 1.0, 1.0) for m in range(5 * c, 5 * c + 5)),
            mistaken_for=(),
        )
        for c in range(classes)
    )

    def noise():
        return torch.randint(256, (3, 112, 112), generator=generator, dtype=torch.uint8)

    activation = torch.rand(7, 7, generator=generator)
    exemplars = {
        m: [Exemplar(0, 0, 1.0, noise(), activation) for _ in range(4)] for m in range(5 * classes)
    }
    return dataclasses.replace(
        study, units=units, classes=cards, exemplars=exemplars, dissection=None
    )


def test_a_hundred_classes_of_noise_fit_in_20_megabytes(study):
    """Measured on ten and twenty classes; the rest is a straight line."""
    ten, twenty = (len(report.render(many_classes(study, classes))) for classes in (10, 20))
    a_class = (twenty - ten) / 10
    assert twenty + 80 * a_class < 20e6

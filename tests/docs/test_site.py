"""The site holds every page and every public name, and its links lead somewhere without a network."""

import importlib
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "interpretable_sgd",
    "interpretable_sgd.analysis",
    "interpretable_sgd.analysis.concepts",
    "interpretable_sgd.report",
)
# What a browser fetches by itself, by element.
FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "srcset"}


class Page(HTMLParser):
    """Anchors of a page, its links, what it loads, and how many formulas it has."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.formulas = 0
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors.update(filter(None, (values.get("id"), values.get("name"))))
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        if values.get(FETCHED.get(tag, "")):
            self.loads.append(values[FETCHED[tag]] or "")
        self.formulas += tag == "math"


@cache
def page(file: Path) -> Page:
    return Page(file)


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def test_every_page_is_built(site: Path) -> None:
    documents = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site) for path in pages(site)}
    assert documents
    assert {document.with_suffix(".html") for document in documents} <= built


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_reference(site: Path, package: str) -> None:
    public = {f"{package}.{name}" for name in importlib.import_module(package).__all__}
    described = set().union(*(page(file).anchors for file in (site / "api").glob("*.html")))
    assert public - described == set()


def lost_links(site: Path) -> list[str]:
    lost = []
    for file in pages(site):
        for link in page(file).links:
            target = urlsplit(link)
            if target.scheme:
                continue
            path = (file.parent / unquote(target.path)).resolve() if target.path else file
            if not path.is_file():
                lost.append(f"{file.relative_to(site)}: {link}")
            elif path.suffix == ".html" and target.fragment:
                missing = unquote(target.fragment) not in page(path).anchors
                lost += [f"{file.relative_to(site)}: {link}"] if missing else []
    return lost


def test_links_lead_to_pages_and_anchors(site: Path) -> None:
    assert len(page(site / "index.html").links) > 10
    assert lost_links(site) == []


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loaded = [load for file in pages(site) for load in page(file).loads]
    assert loaded
    assert [load for load in loaded if urlsplit(load).netloc] == []
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", style.read_text()), style


def test_formulas_are_mathml(site: Path) -> None:
    """No formula is left as LaTeX, in text or for a script to find."""
    assert page(site / "method.html").formulas > 100
    for file in pages(site):
        if file.parts[-2] != "source":
            assert r"\frac" not in file.read_text(), file


def test_links_of_equations_lead_to_their_functions(site: Path) -> None:
    links = page(site / "method.html").links
    assert "api/arithmetic.html#interpretable_sgd.optimizer.probabilities.waterfill" in links


def test_lost_links_would_be_seen(tmp_path: Path) -> None:
    """The test above can fail."""
    (tmp_path / "a.html").write_text("<a href='b.html'></a><a href='a.html#no'></a><p id='yes'>")
    assert lost_links(tmp_path) == ["a.html: b.html", "a.html: a.html#no"]

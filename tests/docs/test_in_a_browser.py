"""The site in a real browser, from disk: no message, no network; formulas, search and both schemes work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium", reason="selenium drives the browser")

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.browsing import MARKS, opened, requests, started

pytestmark = MARKS

PAGES = ("index", "start", "tutorial", "method", "theory", "architecture", "compatibility")
REFERENCE = ("api/optimizer", "api/arithmetic", "source/tests/optimizer/test_probes")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with started(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


def all_of(browser: Chrome, selector: str) -> list[Any]:
    return browser.find_elements(By.CSS_SELECTOR, selector)


def url(site: Path, page: str) -> str:
    return (site / f"{page}.html").as_uri()


@pytest.mark.parametrize("page", PAGES + REFERENCE)
def test_it_shows_without_a_message_or_a_request(browser: Chrome, site: Path, page: str) -> None:
    opened(browser, url(site, page))
    assert all_of(browser, "article h1")
    for picture in all_of(browser, "article img"):
        assert browser.execute_script("return arguments[0].naturalWidth", picture) > 0
    assert browser.get_log("browser") == []
    assert requests(browser) <= {"file", "data"}


def test_formulas_are_drawn(browser: Chrome, site: Path) -> None:
    """A fraction is taller than a letter, and an index stands below its symbol."""
    opened(browser, url(site, "theory"))
    index = all_of(browser, "article msub")[0]
    bottom, below = (
        part.rect["y"] + part.rect["height"] for part in index.find_elements(By.XPATH, "./*")
    )
    assert below > bottom
    fraction = all_of(browser, ".formula mfrac")[0].rect["height"]
    assert fraction > 1.5 * all_of(browser, ".formula mi")[0].rect["height"]


def test_search_finds_an_option(browser: Chrome, site: Path) -> None:
    opened(browser, url(site, "index"))
    field = all_of(browser, "input[name=q]")[0]
    field.send_keys("block_size", Keys.ENTER)
    WebDriverWait(browser, 30).until(lambda page: all_of(page, "#search-results li a"))
    links = [link.get_attribute("href") for link in all_of(browser, "#search-results li a")]
    assert any("optimizer.html" in link for link in links), links
    assert browser.get_log("browser") == []
    assert requests(browser) <= {"file", "data"}


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("page", PAGES)
def test_no_page_scrolls_sideways(browser: Chrome, site: Path, page: str, width: int) -> None:
    opened(browser, url(site, page), width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("dark", [False, True])
def test_pictures_are_those_of_the_colour_scheme(browser: Chrome, site: Path, dark: bool) -> None:
    opened(browser, url(site, "index"), dark=dark)
    shown = [picture for picture in all_of(browser, "article img") if picture.is_displayed()]
    scheme = "dark" if dark else "light"
    assert len(shown) == 2
    assert all(f"-{scheme}." in picture.get_attribute("src") for picture in shown)

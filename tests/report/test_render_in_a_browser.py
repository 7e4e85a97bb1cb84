"""The page in a real browser: it renders, sorts, filters, zooms; it says no error and asks no network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interpretable_sgd import report
from tests.report.pages import hostile_study, page_study

pytest.importorskip("selenium", reason="selenium drives the browser")

from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browsing import MARKS, opened, requests, started

pytestmark = MARKS


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with started(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.write(page_study(explained=2), tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def page(browser: Chrome, file: Path) -> Chrome:
    opened(browser, file.as_uri())
    return browser


def all_of(browser: Chrome, selector: str) -> list[Any]:
    return browser.find_elements(By.CSS_SELECTOR, selector)


def shown(browser: Chrome, selector: str) -> list[Any]:
    return [element for element in all_of(browser, selector) if element.is_displayed()]


def test_it_renders_without_a_message_or_a_request(page: Chrome) -> None:
    assert page.title == "squares & co: how it decides"
    pictures = all_of(page, "img")
    assert pictures
    for picture in pictures:
        assert page.execute_script("return arguments[0].naturalWidth", picture) > 0
    for strip in all_of(page, ".uses .strip"):
        assert page.execute_script("return arguments[0].getBBox().width", strip) > 0
    assert page.get_log("browser") == []
    assert requests(page) <= {"file", "data"}


def test_requests_would_be_seen(browser: Chrome, tmp_path: Path) -> None:
    """The test above can fail."""
    (tmp_path / "a.html").write_text("<img src='http://127.0.0.1:9/a.png'><script>x.y</script>")
    opened(browser, (tmp_path / "a.html").as_uri())
    assert "http" in requests(browser)
    assert browser.get_log("browser")


def test_columns_sort_both_ways(page: Chrome) -> None:
    def column() -> list[float]:
        cells = all_of(page, "#unit-list tr td:nth-child(4)")
        return [float(cell.get_attribute("data-value")) for cell in cells]

    page.execute_script(
        "document.querySelectorAll('#unit-list tr').forEach((row, i) =>"
        "  { row.cells[3].dataset.value = [0.5, 10, 0.25][i]; })"
    )
    (button,) = [b for b in all_of(page, ".sortable th button") if b.text.startswith("IoU")]
    button.click()
    assert column() == [10, 0.5, 0.25]
    button.send_keys(Keys.ENTER)
    assert column() == [0.25, 0.5, 10]
    (head,) = [h for h in all_of(page, ".sortable th") if h.get_attribute("aria-sort")]
    assert head.get_attribute("aria-sort") == "ascending"


def test_units_and_classes_are_found_and_filtered(page: Chrome) -> None:
    search = page.find_element(By.CSS_SELECTOR, "[data-for=unit-list] [name=search]")
    search.send_keys("GREEN")
    assert [row.get_attribute("data-search") for row in shown(page, "#unit-list tr")] == [
        "unit 1 green"
    ]
    assert page.find_element(By.CSS_SELECTOR, "[data-for=unit-list] output").text == "1 of 3"
    search.clear()
    search.send_keys("green 1 unit")  # words in any order
    assert len(shown(page, "#unit-list tr")) == 1
    search.clear()
    search.send_keys("no such")
    assert shown(page, "#unit-list tr") == []
    said = page.find_element(By.CSS_SELECTOR, "[data-for=unit-list] output").text
    assert said == "Nothing matches all of these words."
    classes = page.find_element(By.CSS_SELECTOR, "[data-for=class-list] [name=search]")
    classes.send_keys("blue")
    assert len(shown(page, "#class-list .card")) == 2
    classes.clear()
    classes.send_keys("green red")
    assert [card.get_attribute("data-name") for card in shown(page, "#class-list .card")] == [
        "red green"
    ]


def test_classes_are_ordered(page: Chrome) -> None:
    order = page.find_element(By.CSS_SELECTOR, "[data-for=class-list] [name=order]")
    order.find_element(By.CSS_SELECTOR, "[value=name]").click()
    names = [card.get_attribute("data-name") for card in all_of(page, ".card")]
    assert names == sorted(names) != ["red green", "red blue", "green blue"]


def test_pictures_grow_with_the_mouse_and_the_keyboard(page: Chrome) -> None:
    picture = all_of(page, ".tiles img")[0]
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
    small = picture.size["width"]
    picture.click()
    (large,) = shown(page, "dialog img")
    assert large.size["width"] > 2 * small
    assert page.find_element(By.CSS_SELECTOR, "dialog p").text == picture.get_attribute("alt")
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    assert shown(page, "dialog") == []
    page.execute_script("arguments[0].focus()", picture)
    ActionChains(page).send_keys(Keys.ENTER).perform()
    assert len(shown(page, "dialog img")) == 1


def test_everything_is_reached_by_keyboard(page: Chrome) -> None:
    """Tab passes through the skip link, pictures, fields, numbers and buttons; Enter opens numbers."""
    wanted = {"a.skip", "img.zoomable", "input", "select", "summary", "button"}
    for _ in range(200):
        ActionChains(page).send_keys(Keys.TAB).perform()
        element = page.switch_to.active_element
        wanted.discard(f"{element.tag_name}.{element.get_attribute('class')}".rstrip("."))
        if element.tag_name == "summary" and not all_of(page, ".numbers[open]"):
            element.send_keys(Keys.ENTER)
        if not wanted:
            break
    assert not wanted and all_of(page, ".numbers[open]")


def test_links_open_the_class_that_they_lead_to(page: Chrome) -> None:
    page.execute_script("location.hash = '#class-2'")
    assert len(shown(page, "#class-2 .inside")) == 1


@pytest.mark.parametrize("width", [320, 390, 768, 1400])
def test_no_width_scrolls_sideways(browser: Chrome, file: Path, width: int) -> None:
    opened(browser, file.as_uri(), width)
    browser.execute_script(
        "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_light_and_dark_differ_and_can_be_read(browser: Chrome, file: Path) -> None:
    """Contrast of text to paper, WCAG 2.2, level AA: 4.5 to 1."""
    papers = []
    for dark in (False, True):
        opened(browser, file.as_uri(), dark=dark)
        paper = colour(browser, "body", "backgroundColor")
        papers.append(paper)
        for selector in (
            "body",
            ".intro",
            "figcaption",
            ".facts dt",
            "a[download]",
            ".outcome.wrong",
        ):
            assert contrast(colour(browser, selector, "color"), paper) >= 4.5, (selector, dark)
    assert luminance(papers[0]) > 0.8 and luminance(papers[1]) < 0.05


def colour(browser: Chrome, selector: str, key: str) -> list[float]:
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    value = browser.execute_script(script, selector, key)
    return [float(part) / 255 for part in value[value.index("(") + 1 : -1].split(",")[:3]]


def luminance(rgb: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[float], two: list[float]) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_it_reads_without_a_script(browser: Chrome, file: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(browser, file.as_uri())
        assert len(shown(browser, ".card summary")) == 3
        assert shown(browser, ".tools") == [] and shown(browser, "dialog") == []
        assert len(shown(browser, "#unit-list tr")) == 3
        assert len(shown(browser, ".card .uses")) == 1
        shown(browser, ".card summary")[1].click()
        assert len(shown(browser, ".card .uses")) == 2
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_hostile_names_do_nothing(browser: Chrome, tmp_path: Path) -> None:
    opened(browser, report.write(hostile_study(), tmp_path / "hostile.html").as_uri())
    browser.execute_script(
        "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
    )
    for heading in all_of(browser, "h1, h2, h3, .card .name")[:20]:
        browser.execute_script("arguments[0].click()", heading)
    assert browser.execute_script("return window.hacked") is None
    assert browser.get_log("browser") == [] and requests(browser) <= {"file", "data"}

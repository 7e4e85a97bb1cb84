"""`python -m tests.report.screenshots`: take the documentation's pictures of the example report.

Needs chromium and its driver. Writes docs/pictures/NAME-light.webp and NAME-dark.webp.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from interpretable_sgd import report
from interpretable_sgd.report import example
from tests.browsing import opened, started

PICTURES = Path(__file__).parents[2] / "docs/pictures"
LOOKS = {
    # name: width of the window, what is shown, and what of it is hidden
    "decision": (1100, "article.decision:nth-of-type(2)", ".score + .score, .margin"),
    "class": (1000, ".card[open]", ""),
    "phone": (390, "body", ""),
}
SHARP = 2  # pixels of the picture for each of the page
TALL = 844  # of a telephone's screen


def take(browser: Chrome, page: Path, name: str, dark: bool) -> Image.Image:
    """One picture, in a colour scheme."""
    width, shown, hidden = LOOKS[name]
    opened(browser, page.as_uri(), width, dark)
    size = {"width": width, "height": TALL, "deviceScaleFactor": SHARP, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    if hidden:
        browser.execute_script(
            "document.querySelectorAll(arguments[0]).forEach((one) => one.remove())", hidden
        )
    # what is out of sight is not laid out
    browser.execute_script(
        "document.querySelectorAll('.card, .decision')"
        ".forEach((one) => { one.style.contentVisibility = 'visible'; })"
    )
    if shown == "body":
        png = browser.get_screenshot_as_png()
    else:
        png = browser.find_element(By.CSS_SELECTOR, shown).screenshot_as_png
    return Image.open(io.BytesIO(png)).convert("RGB")


def main() -> int:
    """Run the command; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        page = report.write(example.study(), Path(folder) / "example.html")
        with started(Path(folder) / "profile") as browser:
            for name in LOOKS:
                for scheme in ("light", "dark"):
                    path = PICTURES / f"{name}-{scheme}.webp"
                    take(browser, page, name, scheme == "dark").save(path, quality=80, method=6)
                    print(f"wrote {path.name}, {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

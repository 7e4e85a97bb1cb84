"""Python blocks of a page as one program, and what they print, which stands below each.

`python -m tests.documents docs/start.md ...` runs pages and writes what they print into them. A block of
output is fenced as `text` where every run prints it, and as `text measured` where its numbers are of one
run: words and order are then the same everywhere, numbers are not.
"""

import contextlib
import io
import itertools
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text(?P<measured> measured)?\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?")
LIST = re.compile(r"#(?:,\s*#)+")


class Run(NamedTuple):
    """A block of a page that was run: where it is, what stands below it, and what it printed."""

    block: re.Match[str]
    printed: str

    @property
    def agrees(self) -> bool:
        """Whether what the page shows was printed, numbers aside where they are measured."""
        shown = self.block["output"]
        if shown is None:
            return True
        if self.block["measured"]:
            return words(shown) == words(self.printed)
        return shown == self.printed


def words(text: str) -> list[str]:
    """Text without its numbers, the lengths of their lists, the spaces that align them, and repeated lines."""
    lines = [LIST.sub("#", NUMBER.sub("#", line)).split() for line in text.splitlines()]
    return [word for line, _ in itertools.groupby(lines) for word in line]


def run(document: Path) -> Iterator[Run]:
    """Run the blocks of a page, in order; a failure names its line of the page."""
    names: dict[str, object] = {"__name__": "__document__"}
    for block in BLOCK.finditer(document.read_text()):
        above = block.string.count("\n", 0, block.start("code"))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * above + block["code"], str(document), "exec"), names)
        yield Run(block, printed.getvalue())


def write(document: Path) -> None:
    """Put what a page's blocks print below them."""
    text = document.read_text()
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            runs = list(run(document))
        finally:
            os.chdir(here)
    for block, printed in reversed(runs):
        kind = "text" if block["output"] and not block["measured"] else "text measured"
        output = f"\n```{kind}\n{printed}```\n" if printed else ""
        text = (
            text[: block.start()] + f"```python\n{block['code']}```\n{output}" + text[block.end() :]
        )
    document.write_text(text)


if __name__ == "__main__":
    warnings.simplefilter("always")
    for page in sys.argv[1:]:
        write(Path(page).resolve())

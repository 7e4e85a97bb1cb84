r"""Docstrings are written for `help()`, where |x| is a norm and w_ a name; here they become reStructuredText."""

import re
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"(``.+?``|:math:`.+?`|`[^`]+`)")
SPECIAL = re.compile(r"\||\*|(?<=\w)_(?!\w)")
DIRECTIVE = re.compile(r"(\s*)\.\. \w+::")


def escaped(line: str) -> str:
    r"""The line with bars, stars and trailing underscores outside of code escaped.

    >>> print(escaped("|w_cm| of `a|b`, x_ and 2 * 3"))
    \|w_cm\| of `a|b`, x\_ and 2 \* 3
    """
    parts = CODE.split(line)
    parts[::2] = [SPECIAL.sub(lambda found: "\\" + found[0], part) for part in parts[::2]]
    return "".join(parts)


def translate(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Escape prose in place; directives and examples stay as they are."""
    deeper: int | None = None
    example = False
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if deeper is not None and line.strip() and indent <= deeper:
            deeper = None
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        start = DIRECTIVE.match(line)
        if start:
            deeper = len(start[1])
        if deeper is None and not example:
            lines[number] = escaped(line)


def setup(app: Sphinx) -> dict[str, Any]:
    """Translate every docstring that autodoc reads, before napoleon does."""
    app.connect("autodoc-process-docstring", translate, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

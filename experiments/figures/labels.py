"""Names of classes, concepts and data sets, short enough for where they stand."""

import textwrap


def shortened(name: str, most: int = 24) -> str:
    """A name of at most so many characters, with a mark where it was cut.

    >>> shortened("airplane_cabin"), shortened("red disc + blue ring + green bar", 20)
    ('airplane cabin', 'red disc + blue rin…')
    """
    plain = " ".join(name.replace("_", " ").split())
    return plain if len(plain) <= most else plain[: most - 1].rstrip(" +/,-") + "…"


def wrapped(name: str, width: int = 14, lines: int = 2) -> str:
    """A name on a few short lines.

    >>> wrapped("magenta barred triangle").splitlines()
    ['magenta barred', 'triangle']
    """
    plain = name.replace("_", " ")
    return "\n".join(
        textwrap.wrap(plain, width, max_lines=lines, placeholder="…", break_on_hyphens=False)
    )


def data_of(text: str) -> str:
    """A data set with its options, as a title says it.

    >>> data_of("scenes:size=24,classes=10"), data_of("places365")
    ('scenes, size 24, classes 10', 'places365')
    """
    return text.replace(":", ",").replace(",", ", ").replace("=", " ")

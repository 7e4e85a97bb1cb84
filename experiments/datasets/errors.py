"""What is said of data that is not there or not whole: what was expected, where to get it, what was found."""

from __future__ import annotations

from pathlib import Path

LISTED = 6  # names of a folder that a message shows


class DataError(ValueError):
    """Data on disk that cannot be read as what it was said to be."""


def found_at(path: Path) -> str:
    """What lies at a path, in a few words for a message.

    >>> found_at(Path("no/such/folder"))
    'nothing: there is no such folder'
    """
    if not path.exists():
        return "nothing: there is no such folder"
    if not path.is_dir():
        return f"a file of {path.stat().st_size} bytes"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir())
    if not names:
        return "an empty folder"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"a folder with {', '.join(names[:LISTED])}{more}"

"""Data as a user names it, `name[:path][,option=value]...`, and errors that say what was expected and found."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

OPTION = re.compile(r"(\w+)=([^=/]*)")
LISTED = 6  # names of a folder that a message shows


class DataError(ValueError):
    """Data on disk that cannot be read as what it was said to be."""


class Spec(NamedTuple):
    """Name, path and options of a data set."""

    name: str
    path: Path | None
    options: dict[str, str]


class Request(NamedTuple):
    """What is asked of a data set.

    Attributes:
        name: of the data set.
        path: where it lies; None if the user did not say.
        options: by name, of their types.
        scale: tiny, small or paper.
        seed: of augmentation, and of drawn images.
        folder: below which stand-ins are written, and what is dear to compute is kept.
    """

    name: str
    path: Path | None
    options: dict[str, Any]
    scale: str
    seed: int
    folder: Path


def parse(text: str) -> Spec:
    """Name, path and options of a text.

    >>> parse("places365:/data/places365_standard,size=112")
    Spec(name='places365', path=PosixPath('/data/places365_standard'), options={'size': '112'})
    >>> parse("scenes:size=64,classes=100")
    Spec(name='scenes', path=None, options={'size': '64', 'classes': '100'})
    """
    name, _, rest = text.partition(":")
    pieces = rest.split(",")
    options: dict[str, str] = {}
    # a path may hold commas, so options are taken from the end
    while pieces and (match := OPTION.fullmatch(pieces[-1])):
        options = {match[1]: match[2], **options}
        pieces.pop()
    path = ",".join(pieces)
    return Spec(name, Path(path).expanduser() if path else None, options)


def typed(name: str, options: Mapping[str, str], kinds: Mapping[str, type]) -> dict[str, Any]:
    """Values of options.

    Args:
        name: of the data, for messages.
        options: as written.
        kinds: the options that there are: int or float.

    Raises:
        ValueError: no such option, or not a number of its kind.

    >>> typed("scenes", {"size": "64"}, {"size": int})
    {'size': 64}
    """
    values = {}
    for option, value in options.items():
        if option not in kinds:
            raise ValueError(
                f"an option of {name} must be one of {', '.join(kinds)}, got {option!r}"
            )
        try:
            values[option] = kinds[option](value)
        except ValueError:
            kind = "an integer" if kinds[option] is int else "a number"
            raise ValueError(f"{option} of {name} must be {kind}, got {value!r}") from None
    return values


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

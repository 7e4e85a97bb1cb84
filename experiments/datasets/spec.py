"""`--data name[:path][,option=value]...`: read what a user wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

OPTION = re.compile(r"(\w+)=([^=/]*)")


class Named(NamedTuple):
    """What a text names."""

    name: str
    path: Path | None
    options: dict[str, str]


def parse(text: str) -> Named:
    """Name, path and options of a text.

    >>> parse("places365:/data/places365_standard,size=112")
    Named(name='places365', path=PosixPath('/data/places365_standard'), options={'size': '112'})
    >>> parse("scenes:size=64,classes=100")
    Named(name='scenes', path=None, options={'size': '64', 'classes': '100'})
    """
    name, _, rest = text.partition(":")
    pieces = rest.split(",")
    options: dict[str, str] = {}
    while pieces and (match := OPTION.fullmatch(pieces[-1])):
        options = {match[1]: match[2], **options}
        pieces.pop()
    path = ",".join(pieces)
    return Named(name, Path(path).expanduser() if path else None, options)


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

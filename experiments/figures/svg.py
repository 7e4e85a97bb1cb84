"""Pictures of the documentation as SVG: no fonts, scripts or network, one file for each colour scheme."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

FONT = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


class Scheme(NamedTuple):
    """Colours of one page background."""

    name: str
    ink: str
    quiet: str
    line: str
    panel: str
    ours: str
    theirs: str
    positive: str
    negative: str


SCHEMES = (
    Scheme(
        "light",
        "#22262b",
        "#5f6b7a",
        "#d5dae1",
        "#f4f6f8",
        "#d9480f",
        "#5f6b7a",
        "#d9480f",
        "#1c7ed6",
    ),
    Scheme(
        "dark",
        "#e4e7eb",
        "#a3adb9",
        "#3d444d",
        "#1e2125",
        "#ff8a57",
        "#a3adb9",
        "#ff8a57",
        "#4dabf7",
    ),
)


def text(
    x: float, y: float, words: str, fill: str, size: float = 13, anchor: str = "start", **more: str
) -> str:
    """Words with their baseline at (x, y).

    >>> text(1, 2, "a < b", "red")
    '<text x="1" y="2" fill="red" font-size="13" text-anchor="start">a &lt; b</text>'
    """
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    start = f'<text x="{x:g}" y="{y:g}" fill="{fill}" font-size="{size:g}" text-anchor="{anchor}"'
    return f"{start}{extra}>{escape(words)}</text>"


def rectangle(x: float, y: float, width: float, height: float, **more: str) -> str:
    """A rectangle from its upper left corner."""
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{extra}/>'


def path(steps: str, **more: str) -> str:
    """A path of SVG commands."""
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return f'<path d="{steps}"{extra}/>'


def write(place: Path, width: float, height: float, title: str, parts: list[str]) -> Path:
    """Write a picture that says what it shows to readers that cannot see it."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" font-family="{FONT}">'
    )
    place.write_text("\n".join([head, f"<title>{escape(title)}</title>", *parts, "</svg>", ""]))
    return place

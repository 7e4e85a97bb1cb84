"""Elements of HTML and SVG, every text and attribute escaped, and the scales and frames of charts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Attribute = str | int | float | None


def tag(name: str, *children: object, **attributes: Attribute) -> Markup:
    """An element; `_` in an attribute's name stands for `-`, a trailing one is dropped.

    Children that are not markup are escaped; an attribute that is None is left out.

    >>> print(tag("text", "<b>", x=1.0, text_anchor="end", class_="axis"))
    <text x="1" text-anchor="end" class="axis">&lt;b&gt;</text>
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(value))
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inside)


def svg(width: float, height: float, *children: object, title: str, class_: str) -> Markup:
    """A drawing that scales with the page, with a title that screen readers speak."""
    return tag(
        "svg",
        tag("title", title),
        *children,
        viewBox=f"0 0 {_short(width)} {_short(height)}",
        class_=class_,
        role="img",
    )


def _short(value: Attribute) -> str:
    """Numbers to a hundredth: what a drawing can show."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic map from values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a value lies; outside values stay at the ends."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values between low and high.

        >>> Scale(0, 1, 0, 100).ticks(5)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
        >>> Scale(1, 600, 0, 100, log=True).ticks()
        [1.0, 10.0, 100.0]
        """
        if self.log:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            found = [10.0**power for power in powers]
            if len(found) < 3:
                found = [m * 10.0**p for p in range(-12, 13) for m in (1, 2, 5)]
            return [value for value in found if self.low <= value <= self.high]
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        rough = span / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) for k in range(first, last + 1)]


def label(value: float, as_percent: bool = False) -> str:
    """A tick in few signs.

    >>> label(0.25, as_percent=True), label(1000.0), label(0.5)
    ('25%', '1k', '0.5')
    """
    if as_percent:
        return f"{100 * value:.4g}%".replace("-", "\N{MINUS SIGN}")
    if abs(value) >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class Frame:
    """Two scales and what is drawn around them."""

    x: Scale
    y: Scale
    x_title: str
    y_title: str
    x_percent: bool = False
    y_percent: bool = False
    x_ticks: Sequence[float] | None = None
    x_labels: Sequence[str] | None = None

    def draw(self) -> list[Markup]:
        """Grid, ticks and titles; the y title stands on top, where it reads without turning."""
        left, right = self.x.start, self.x.end
        bottom, top = self.y.start, self.y.end
        found = []
        for value in self.y.ticks(4):
            y = self.y(value)
            found.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
            text = label(value, self.y_percent)
            found.append(tag("text", text, x=left - 8, y=y + 3.5, text_anchor="end"))
        ticks = self.x.ticks(5) if self.x_ticks is None else self.x_ticks
        labels = self.x_labels or [label(value, self.x_percent) for value in ticks]
        for value, text in zip(ticks, labels, strict=True):
            found.append(tag("text", text, x=self.x(value), y=bottom + 17, text_anchor="middle"))
        found.append(tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
        found.append(tag("text", self.y_title, x=0, y=top - 14, class_="title"))
        found.append(
            tag("text", self.x_title, x=right, y=bottom + 33, text_anchor="end", class_="title")
        )
        return found

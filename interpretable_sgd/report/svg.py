"""Elements of HTML and SVG, every text and attribute escaped."""

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

"""A logit as a sum: each part starts where the one above it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from markupsafe import Markup

from interpretable_sgd.report.axes import Scale
from interpretable_sgd.report.formatting import signed
from interpretable_sgd.report.svg import svg, tag

ROW = 24.0
WIDTH = 400.0
NAMES, VALUES = 140.0, 56.0


@dataclass(frozen=True)
class Part:
    """A term of the sum.

    Attributes:
        name: of the unit or concept, "bias", or "other units".
        value: signed.
        kind: "unit", "rest", or "bias"; decides how it is drawn.
    """

    name: str
    value: float
    kind: str = "unit"


def waterfall(parts: Sequence[Part], total_name: str, *, title: str) -> Markup:
    """Rows of parts and a last row with their sum, from 0.

    >>> drawn = waterfall([Part("red disc", 2.0), Part("bias", -0.5, "bias")], "logit", title="sum")
    >>> "+1.50" in drawn
    True
    """
    ends = list(accumulate(part.value for part in parts))
    starts = [0.0, *ends[:-1]]
    total = ends[-1] if ends else 0.0
    reach = [0.0, *ends]
    scale = Scale(min(reach), max(reach), NAMES + 4, WIDTH - VALUES - 4)
    rows = [*parts, Part(total_name, total, "total")]
    drawn = [tag("line", x1=scale(0), x2=scale(0), y1=0, y2=ROW * len(rows), class_="zero")]
    for i, (part, start) in enumerate(zip(rows, [*starts, 0.0], strict=True)):
        y = i * ROW
        left, right = sorted((scale(start), scale(start + part.value)))
        sign = "minus" if part.value < 0 else "plus"
        class_ = f"part {part.kind} {sign}"
        name = part.name if len(part.name) <= 22 else part.name[:21] + "\N{HORIZONTAL ELLIPSIS}"
        drawn += [
            tag("text", name, x=NAMES - 8, y=y + 16, text_anchor="end", class_=f"name {part.kind}"),
            tag(
                "rect", x=left, y=y + 4, width=max(right - left, 1.0), height=ROW - 8, class_=class_
            ),
            tag(
                "text",
                signed(part.value),
                x=WIDTH,
                y=y + 16,
                text_anchor="end",
                class_=f"value {part.kind}",
            ),
        ]
        if i < len(parts):
            x = scale(start + part.value)
            drawn.append(tag("line", x1=x, x2=x, y1=y + ROW - 4, y2=y + ROW + 4, class_="joint"))
    return svg(WIDTH, ROW * len(rows), *drawn, title=title, class_="waterfall")

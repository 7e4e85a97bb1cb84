"""Line and bar charts as SVG; the page's style sheet gives them their colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from interpretable_sgd.report.svg import Frame, Scale, svg, tag

WIDTH, HEIGHT = 400.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 12.0, 30.0, 40.0
ROW = 18.0  # of a legend


@dataclass(frozen=True)
class Line:
    """One curve, or points without a curve.

    Attributes:
        name: at its end, or in the legend.
        points: (x, y), x ascending.
        kind: class of the style sheet: "first", "second", "third", "fourth", "quiet".
        band: (x, low, high) around the curve.
        dots: draw a mark at each point.
        line: join the points.
        named: has an entry in the legend.
        radius: of a mark, in pixels.
        bounds: (x, low, high), an upright line at each x.
    """

    name: str
    points: Sequence[tuple[float, float]]
    kind: str = "first"
    band: Sequence[tuple[float, float, float]] = ()
    dots: bool = False
    line: bool = True
    named: bool = True
    radius: float = 3.2
    bounds: Sequence[tuple[float, float, float]] = ()


def lines(
    curves: Sequence[Line],
    *,
    title: str,
    x_title: str,
    y_title: str,
    x_log: bool = False,
    x_percent: bool = False,
    y_percent: bool = False,
    y_range: tuple[float, float] | None = None,
    x_ticks: Sequence[float] | None = None,
    x_labels: Sequence[str] | None = None,
) -> Markup:
    """Curves over a common frame, their names in a legend above it.

    Points that are not finite are left out; without any, the frame is empty.
    """
    curves = [_finite(curve) for curve in curves]
    xs = [x for curve in curves for x, _ in curve.points] or [0.0, 1.0]
    ys = [y for curve in curves for _, y in curve.points]
    ys += [y for curve in curves for _, *ends in curve.band for y in ends]
    low, high = y_range or _padded(ys or [0.0, 1.0])
    legend = _legend(curves) if len(curves) > 1 else []
    room = ROW * len(legend)
    top = TOP + room
    frame = Frame(
        Scale(min(xs), max(xs), LEFT, WIDTH - RIGHT, x_log and min(xs) > 0),
        Scale(low, high, HEIGHT + room - BOTTOM, top),
        x_title,
        y_title,
        x_percent,
        y_percent,
        x_ticks,
        x_labels,
    )
    drawn = [*frame.draw()]
    for curve in curves:
        drawn += _curve(curve, frame)
    drawn += [mark for row in legend for mark in row]
    return svg(WIDTH, HEIGHT + room, *drawn, title=title, class_="chart")


def _curve(curve: Line, frame: Frame) -> list[Markup]:
    x, y = frame.x, frame.y
    drawn = []
    if curve.band:
        there = [(x(a), y(high)) for a, _, high in curve.band]
        back = [(x(a), y(low)) for a, low, _ in reversed(curve.band)]
        drawn.append(tag("path", d=_path([*there, *back]) + "Z", class_=f"band {curve.kind}"))
    for a, low, high in curve.bounds:
        drawn.append(tag("line", x1=x(a), x2=x(a), y1=y(low), y2=y(high), class_="bound"))
    places = [(x(a), y(b)) for a, b in curve.points]
    if curve.line and places:
        drawn.append(tag("path", d=_path(places), class_=f"line {curve.kind}"))
    if curve.dots or len(places) == 1:
        for (a, b), (px, py) in zip(curve.points, places, strict=True):
            hint = tag("title", f"{curve.name}: {a:g}, {b:.4g}")
            drawn.append(
                tag("circle", hint, cx=px, cy=py, r=curve.radius, class_=f"dot {curve.kind}")
            )
    return drawn


def _legend(curves: Sequence[Line]) -> list[list[Markup]]:
    """Marks and names in as many rows as they need."""
    rows: list[list[Markup]] = [[]]
    x = 0.0
    for curve in curves:
        if not curve.named:
            continue
        width = 21 + 6.3 * len(curve.name)
        if x and x + width > WIDTH:
            rows.append([])
            x = 0.0
        y = 8 + ROW * (len(rows) - 1)
        mark = tag("line", x1=x, x2=x + 16, y1=y, y2=y, class_=f"line {curve.kind}")
        if not curve.line:
            mark = tag("circle", cx=x + 8, cy=y, r=3.2, class_=f"dot {curve.kind}")
        rows[-1] += [mark, tag("text", curve.name, x=x + 21, y=y + 4, class_="legend")]
        x += width + 15
    return rows


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its value, and a note at its end."""

    name: str
    value: float
    note: str
    kind: str = "first"
    part: float = 0.0  # of the value, drawn pale: what does not count in full


def bars(rows: Sequence[Bar], *, title: str, name_width: float = 110.0) -> Markup:
    """Horizontal bars from 0, names on the left, notes at the end."""
    height = 26.0 * max(1, len(rows)) + 4
    most = max((row.value for row in rows), default=0.0) or 1.0
    scale = Scale(0, most, name_width, WIDTH - 96)
    drawn = []
    for i, row in enumerate(rows):
        y = 26.0 * i + 4
        end, solid = scale(row.value), scale(row.value - row.part)
        drawn += [
            tag("text", _cut(row.name, name_width), x=name_width - 10, y=y + 14, text_anchor="end"),
            tag(
                "rect",
                x=name_width,
                y=y + 2,
                width=solid - name_width,
                height=16,
                class_=f"bar {row.kind}",
            ),
            tag(
                "rect",
                x=solid,
                y=y + 2,
                width=end - solid,
                height=16,
                class_=f"bar pale {row.kind}",
            ),
            tag("text", row.note, x=end + 8, y=y + 14, class_="note"),
        ]
    return svg(WIDTH, height, *drawn, title=title, class_="chart")


def columns(
    groups: Sequence[tuple[str, Sequence[float]]],
    *,
    names: Sequence[str],
    title: str,
    x_title: str,
    y_title: str,
) -> Markup:
    """Groups of upright bars, one of each kind side by side, as shares."""
    most = max((value for _, values in groups for value in values), default=0.0) or 1.0
    kinds = ("first", "second", "third")
    legend = _legend([Line(name, (), kinds[j % 3]) for j, name in enumerate(names)])
    room = ROW * len(legend)
    y = Scale(0, most, HEIGHT + room - BOTTOM, TOP + room)
    x = Scale(0, len(groups), LEFT, WIDTH - RIGHT)
    drawn = Frame(x, y, x_title, y_title, y_percent=True, x_ticks=()).draw()
    slot = (x.end - x.start) / max(1, len(groups))
    width = min(18.0, 0.8 * slot / max(1, len(names)))
    for i, (name, values) in enumerate(groups):
        middle = x.start + (i + 0.5) * slot
        drawn.append(tag("text", name, x=middle, y=y.start + 17, text_anchor="middle"))
        for j, value in enumerate(values):
            left = middle + (j - len(names) / 2) * width
            hint = tag("title", f"{names[j]}, {name}: {100 * value:.1f} %")
            drawn.append(
                tag(
                    "rect",
                    hint,
                    x=left + 0.5,
                    y=y(value),
                    width=width - 1,
                    height=y.start - y(value),
                    class_=f"bar {kinds[j % 3]}",
                )
            )
    drawn += [mark for row in legend for mark in row]
    return svg(WIDTH, HEIGHT + room, *drawn, title=title, class_="chart")


def heat_map(
    names: Sequence[str],
    cells: Sequence[Sequence[int]],
    shares: Sequence[Sequence[float]],
    *,
    title: str,
) -> Markup:
    """A square grid of counts, the darker the larger their share; names of columns are numbered.

    Args:
        names: of rows and columns.
        cells: what is written, row by row; 0 is left out.
        shares: how dark, in [0, 1].
        title: of the drawing.
    """
    left, size = 118.0, min(30.0, (WIDTH - 118.0) / max(1, len(names)))
    drawn = []
    for i, name in enumerate(names):
        y = TOP + size * i
        drawn.append(
            tag(
                "text",
                f"{_cut(name, left - 24)} {i + 1}",
                x=left - 8,
                y=y + size / 2 + 4,
                text_anchor="end",
            )
        )
        drawn.append(
            tag("text", str(i + 1), x=left + size * (i + 0.5), y=TOP - 8, text_anchor="middle")
        )
        for j, (count, share) in enumerate(zip(cells[i], shares[i], strict=True)):
            x = left + size * j
            hint = tag("title", f"{name}, predicted {names[j]}: {count}")
            box = {"x": x + 0.5, "y": y + 0.5, "width": size - 1, "height": size - 1}
            drawn.append(tag("rect", class_="track", **box))
            drawn.append(tag("rect", hint, class_="cell", fill_opacity=share, **box))
            if count:
                on = "on" if share > 0.5 else ""
                drawn.append(
                    tag(
                        "text",
                        str(count),
                        x=x + size / 2,
                        y=y + size / 2 + 4,
                        text_anchor="middle",
                        class_=on,
                    )
                )
    return svg(WIDTH, TOP + size * len(names) + 4, *drawn, title=title, class_="chart")


def _finite(curve: Line) -> Line:
    points = [(x, y) for x, y in curve.points if math.isfinite(x) and math.isfinite(y)]
    band = [row for row in curve.band if all(math.isfinite(value) for value in row)]
    return replace(curve, points=points, band=band)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.5
    return low - room, high + room


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _cut(text: str, width: float) -> str:
    """Text of about this width in pixels, with an ellipsis where it is longer."""
    most = max(3, int((width - 10) / 6.2))
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"

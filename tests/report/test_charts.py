"""Charts put numbers where they belong, and survive numbers that are none."""

import re
from xml.etree import ElementTree

import pytest

from interpretable_sgd.analysis.composition import Composition, Edge, Node
from interpretable_sgd.report.charts import Bar, Line, bars, columns, lines
from interpretable_sgd.report.diagrams import Part, graph, waterfall
from interpretable_sgd.report.sections import excerpt
from interpretable_sgd.report.svg import Scale


def elements(drawing, kind, class_=""):
    root = ElementTree.fromstring(str(drawing).replace("&nbsp;", " "))
    return [e for e in root.iter(kind) if class_ in e.get("class", "")]


def test_scales_are_linear_or_logarithmic_and_end_where_they_end():
    scale = Scale(0, 10, 100, 200)
    assert [scale(v) for v in (-5, 0, 2.5, 10, 99)] == [100, 100, 125, 200, 200]
    log = Scale(1, 100, 0, 200, log=True)
    assert log(10) == pytest.approx(100)
    assert Scale(3, 3, 0, 200)(3) == 100


def test_points_lie_on_their_scales():
    drawn = lines(
        [Line("a", [(0, 0), (1, 1), (2, 4)], dots=True)],
        title="t",
        x_title="x",
        y_title="y",
        y_range=(0, 4),
    )
    dots = [(float(e.get("cx")), float(e.get("cy"))) for e in elements(drawn, "circle")]
    (x0, y0), (x1, y1), (x2, y2) = dots
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.02)
    assert (y0 - y1) * 4 == pytest.approx(y0 - y2, abs=0.05) and y2 < y0


def test_numbers_that_are_none_leave_gaps_not_errors():
    nan = float("nan")
    drawn = lines(
        [Line("a", [(0, nan), (1, 2), (2, float("inf"))]), Line("b", [])],
        title="t",
        x_title="x",
        y_title="y",
    )
    assert len(elements(drawn, "circle", "dot")) == 1
    assert "nan" not in re.sub("<title>.*?</title>", "", str(drawn)).lower()
    assert elements(lines([], title="t", x_title="x", y_title="y"), "line", "axis")
    assert bars([], title="t") and columns([], names=["a"], title="t", x_title="x", y_title="y")


def test_bars_are_as_long_as_their_values():
    drawn = bars([Bar("a", 4, "4"), Bar("b", 2, "2", part=1)], title="t")
    widths = [float(e.get("width")) for e in elements(drawn, "rect")]
    assert widths[0] == pytest.approx(2 * (widths[2] + widths[3]), abs=0.05)
    assert widths[2] == pytest.approx(widths[3], abs=0.05)


def test_parts_of_a_sum_meet():
    parts = [Part("a", 3.0), Part("b", -1.0), Part("c", 0.5, "rest"), Part("d", -0.5, "bias")]
    drawn = waterfall(parts, "= logit", title="t")
    spans = [
        (float(e.get("x")), float(e.get("x")) + float(e.get("width")))
        for e in elements(drawn, "rect")
    ]
    scale = (spans[0][1] - spans[0][0]) / 3
    assert spans[1][1] == pytest.approx(spans[0][1], abs=0.05)
    assert spans[2][0] == pytest.approx(spans[1][0], abs=0.05)
    total = spans[4]
    assert total[0] == pytest.approx(spans[0][0], abs=0.05)
    assert (total[1] - total[0]) / scale == pytest.approx(2.0, abs=0.01)
    assert [e.text for e in elements(drawn, "text", "total")] == ["= logit", "+2.00"]


def test_names_are_escaped_in_drawings():
    evil = "</text><script>"
    found = Composition((Node(0, 0, evil), Node(1, 0, evil)), (Edge(1, 0, 1.0),))
    drawings = (
        graph(found, title=evil),
        waterfall([Part(evil, 1.0)], evil, title=evil),
        bars([Bar(evil, 1.0, evil)], title=evil),
        lines([Line(evil, [(0, 1)]), Line("b", [(0, 1)])], title=evil, x_title=evil, y_title=evil),
    )
    for drawing in drawings:
        assert elements(drawing, "script") == [] and "<script" not in drawing


def test_lines_of_a_graph_are_as_wide_as_weights():
    found = Composition(
        (Node(0, 0, "c"), Node(1, 0, "x"), Node(1, 1, "y")), (Edge(1, 0, 2.0), Edge(2, 0, -1.0))
    )
    first, second = elements(graph(found, title="t"), "path")
    assert float(first.get("stroke-width")) == pytest.approx(2 * float(second.get("stroke-width")))
    assert "plus" in first.get("class") and "minus" in second.get("class")


def test_an_excerpt_has_what_its_classes_read():
    nodes = (Node(0, 0, "a"), Node(0, 1, "b"), Node(1, 0, "x"), Node(1, 1, "y"), Node(2, 0, "p"))
    edges = (Edge(2, 0, 1.0), Edge(3, 1, 1.0), Edge(4, 2, 2.0), Edge(4, 3, 1.0))
    found = excerpt(Composition(nodes, edges), [1], read_below=1)
    assert [node.label for node in found.nodes] == ["b", "y", "p"]
    assert [(found.nodes[e.target].label, e.weight) for e in found.edges] == [
        ("b", 1.0),
        ("y", 1.0),
    ]

"""Formulas as MathML: browsers draw it themselves, without a script or a network."""

from typing import Any

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.writers.html5 import HTML5Translator

CONVERTER = LatexToMathML()


def mathml(node: nodes.Element, displaystyle: bool) -> str:
    """The formula of a node as a <math> element.

    Raises:
        SphinxError: it is not LaTeX that can be converted.
    """
    latex = node.astext().strip()
    try:
        return CONVERTER.convert_with_local_state(latex, displaystyle=displaystyle)
    except LatexError as error:
        raise SphinxError(f"{node.source}: formula {latex!r}: {error}") from error


def inline(writer: HTML5Translator, node: nodes.math) -> None:
    """A formula within a sentence."""
    writer.body.append(mathml(node, displaystyle=False))
    raise nodes.SkipNode


def display(writer: HTML5Translator, node: nodes.math_block) -> None:
    """A formula of its own; where it is wider than the page, it scrolls."""
    writer.body.append(f'<div class="formula">{mathml(node, displaystyle=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer that `html_math_renderer` names."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

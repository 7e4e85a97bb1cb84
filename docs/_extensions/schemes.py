"""A picture `NAME-light.svg` has a twin `NAME-dark.svg`: the site shows the one of its colour scheme."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

LIGHT, DARK = "-light.svg", "-dark.svg"


class Twins(SphinxTransform):
    """Put the dark picture beside the light one."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Mark both with the classes of the theme."""
        for light in list(self.document.findall(nodes.image)):
            if not light["uri"].endswith(LIGHT):
                continue
            dark = light.deepcopy()
            dark["uri"] = light["uri"].removesuffix(LIGHT) + DARK
            light["classes"].append("only-light")
            dark["classes"].append("only-dark")
            light.parent.insert(light.parent.index(light) + 1, dark)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform."""
    app.add_transform(Twins)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

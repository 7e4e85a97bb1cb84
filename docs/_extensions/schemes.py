"""A picture `NAME-light.svg` has a twin `NAME-dark.svg`: the site shows the one of its colour scheme."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

LIGHT = re.compile(r"-light(?=\.\w+$)")


class Twins(SphinxTransform):
    """Put the dark picture beside the light one."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Mark both with the classes of the theme."""
        for light in list(self.document.findall(nodes.image)):
            if not LIGHT.search(light["uri"]):
                continue
            dark = light.deepcopy()
            dark["uri"] = LIGHT.sub("-dark", light["uri"])
            light["classes"].append("only-light")
            dark["classes"].append("only-dark")
            light.parent.insert(light.parent.index(light) + 1, dark)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform."""
    app.add_transform(Twins)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

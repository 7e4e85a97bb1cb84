"""A link that a git host shows by its file name, `[method.md](method.md)`, has the page's title here."""

from pathlib import Path
from typing import Any

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class Titles(SphinxTransform):
    """Let such links take the title of the page."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        """Links to a part of a page take the title of the part."""
        for link in self.document.findall(pending_xref):
            if link.get("reftype") == "myst" and Path(link.astext()).suffix == ".md":
                link["refexplicit"] = False


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform."""
    app.add_transform(Titles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

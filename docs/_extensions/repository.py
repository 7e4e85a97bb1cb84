"""Links that leave docs/ stay on the site: to a function's reference, to a page, or to the source."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parents[2]
LIBRARY = "interpretable_sgd"
PAGES = {"README.md": "index", "CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog"}
LANGUAGES = {".py": "python", ".sbatch": "bash"}
SOURCES = "sources"  # the files that a page links to, in its metadata


class Away(SphinxTransform):
    """Turn links to files outside docs/ into links within the site."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Replace what MyST takes for downloads."""
        here = Path(self.env.doc2path(self.env.docname)).parent
        for node in list(self.document.findall(download_reference)):
            path = (here / node["reftarget"]).resolve()
            if path.is_relative_to(ROOT) and not path.is_relative_to(self.env.srcdir):
                node.replace_self(self.link(node, path.relative_to(ROOT)))

    def link(self, node: download_reference, path: Path) -> nodes.Element:
        """To the page of a document, the reference of a function, or the source of a file."""
        refers = {"refdoc": self.env.docname, "refexplicit": True, "refwarn": True}
        if str(path) in PAGES:
            page = {"refdomain": "std", "reftype": "doc", "reftarget": "/" + PAGES[str(path)]}
            return pending_xref("", *node.children, **page, **refers)
        name = node.astext()
        if re.fullmatch(rf"{path.stem}\.(?!py$)\w+", name) and path.parts[0] == LIBRARY:
            target = ".".join([*path.parent.parts, name])
            function = {"refdomain": "py", "reftype": "obj", "reftarget": target}
            return pending_xref("", *node.children, **function, **refers)
        self.env.metadata[self.env.docname].setdefault(SOURCES, []).append(str(path))
        up = "../" * self.env.docname.count("/")
        return nodes.reference(
            "", "", *node.children, refuri=f"{up}{page_of(path)}.html#{line_of(path, name)}"
        )


def page_of(path: Path) -> str:
    """The name of the page that shows a file."""
    return f"source/{path.with_suffix('').as_posix()}"


def line_of(path: Path, name: str) -> str:
    """The anchor of the line that defines the name, or of the first."""
    for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
        if re.match(rf"\s*(async )?(def|class) {re.escape(name)}\b", line):
            return f"line-{number}"
    return "line-1"


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for every file that is linked to."""
    files = {file for data in app.env.metadata.values() for file in data.get(SOURCES, [])}
    for file in sorted(files):
        code = (ROOT / file).read_text()
        language = LANGUAGES.get(Path(file).suffix, "text")
        listing = app.builder.highlighter.highlight_block(code, language, lineanchors="line")
        title = html.escape(file)
        body = f"<h1><code>{title}</code></h1>\n{listing}"
        yield page_of(Path(file)), {"title": title, "body": body}, "page.html"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the links and the pages they lead to."""
    app.add_transform(Away)
    app.connect("html-collect-pages", source_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Sphinx builds the site from these pages: `sphinx-build -W docs build/site`.

The pages are plain Markdown that a git host shows as well; what only a site can do is in `_extensions`.
"""

import sys
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

project = "interpretable_sgd"
author = "The interpretable_sgd authors"
version = release = installed("interpretable-sgd")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_external_toc",
    "docstrings",
    "mathml",
    "repository",
    "schemes",
    "titles",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_extensions", "_static"]
# With it a misspelt role in a docstring is an error, and single backticks are code, as in Markdown.
default_role = "literal"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
# "$5 and $6" is money; "$$" within a sentence is a display.
myst_dmath_allow_space = False
myst_dmath_double_inline = True

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [("Warns", "returns_style")]

html_title = "interpretable_sgd"
html_theme = "furo"
pygments_style = "friendly"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["from_disk.js"]
html_show_sphinx = False
html_copy_source = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#b93d06",
        "color-sidebar-link-text--top-level": "var(--color-foreground-primary)",
        "color-brand-content": "#b93d06",
        "color-brand-visited": "#8a3a17",
    },
    "dark_css_variables": {
        "color-brand-primary": "#ff8a57",
        "color-sidebar-link-text--top-level": "var(--color-foreground-primary)",
        "color-brand-content": "#ff8a57",
        "color-brand-visited": "#e0a184",
    },
}
# A prompt is not part of the command.
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp"

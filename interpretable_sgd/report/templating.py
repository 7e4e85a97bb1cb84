"""The environment that the report's templates are rendered in."""

import jinja2


def environment(autoescape: bool, keep_trailing_newline: bool = False) -> jinja2.Environment:
    """Templates of the package; a name that is missing is an error, never an empty place.

    Args:
        autoescape: whether what is filled in is escaped as HTML.
        keep_trailing_newline: whether a text ends as its template does.
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader("interpretable_sgd.report"),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=keep_trailing_newline,
    )

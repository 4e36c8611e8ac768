"""Templates of the roles: Jinja2, where a value that is missing is an error and not an empty string."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2

OWNED = "# This file belongs to hearth and is replaced whole; changes made here are lost.\n"
"""The first line of what is rendered without a template, wherever # begins a comment."""


def template(module_file: str, name: str, **values: object) -> str:
    """Render ``templates/NAME`` beside ``module_file`` (a role's ``__file__``).

    Raises jinja2.UndefinedError when the template asks for a value that is not given.
    """
    return _environment(module_file).get_template(name).render(**values)


@cache
def _environment(module_file: str) -> jinja2.Environment:
    # Kept, since compiling the templates takes longer than all else that is done for a box.
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(module_file).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        autoescape=False,  # noqa: S701 (configuration files, not HTML)
    )

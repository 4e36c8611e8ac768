"""The one family of errors that a run refuses to begin with, or cannot go on with."""

from __future__ import annotations


class RunError(Exception):
    """A run cannot begin, and no host was touched; or its record cannot be written any more, and it must not go on.

    The message is a sentence that says why and what to do.
    """

"""All that a deploy asks a host as one script, for the floor. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def script(questions: Iterable[str]) -> str:
    """One shell script that asks them all, each in a subshell that cannot read the script's own input."""
    return "".join(f"( {question}\n) </dev/null 2>&1\n" for question in questions) + "exit 0\n"

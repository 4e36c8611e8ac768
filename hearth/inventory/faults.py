"""Faults: what is wrong in an inventory, where, and the way out, in the words of the person who has to mend it."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Control characters, lone surrogates, line separators and the marks that turn the reading direction around: none of
# them belongs into a name, and each of them can make a terminal or a reviewer see something that is not there.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
QUOTED_LENGTH = 60


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong: where it stands (``line`` and ``column`` count from 1) and a sentence that mends it."""

    file: Path
    line: int
    column: int
    sentence: str

    def __str__(self) -> str:
        return f"{shown(self.file)}:{self.line}:{self.column}: {self.sentence}"


class InventoryError(Exception):
    """An inventory has faults; ``str()`` gives all of them, one a line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def shown(path: Path) -> str:
    """``path`` as a person reads it: relative to the current directory when below it, unprintable bytes escaped."""
    # Elsewhere, or when the current directory is gone, the absolute path says it as well.
    with contextlib.suppress(ValueError, OSError):
        path = path.relative_to(Path.cwd())
    return UNPRINTABLE.sub(_escape, str(path))


def quoted(value: object) -> str:
    """``value`` as a sentence quotes it: texts in quotation marks, shortened, with unprintable characters escaped."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = UNPRINTABLE.sub(_escape, str(value))
    if len(text) > QUOTED_LENGTH:
        text = text[:QUOTED_LENGTH] + "…"
    return f'"{text}"' if isinstance(value, str) else text


def suggestion(word: str, known: Iterable[str]) -> str:
    """A clause for a misspelt ``word``: the nearest of the ``known`` words, or all of them, or nothing at all."""
    words = sorted(known)
    # A word beyond any sensible length is no typing mistake, and difflib's time grows with its square.
    nearest = difflib.get_close_matches(word[:QUOTED_LENGTH], words, n=1, cutoff=0.6)
    if nearest:
        return f'; did you mean "{nearest[0]}"?'
    return f"; known here: {', '.join(words)}" if 0 < len(words) <= 25 else ""


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"

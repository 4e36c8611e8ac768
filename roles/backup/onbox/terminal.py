"""The household at the box's console: what it is told and asked. Behind a pipe the answers are lines of it."""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import Callable


class Terminal:
    """Standard input and output. ``is_there``: whether a person sits at it, who may try again."""

    def __init__(self) -> None:
        self.is_there = sys.stdin.isatty()
        self._shown = ""

    def say(self, text: str = "") -> None:
        """Tell a line. Whoever closed the terminal is told nothing more, and the restore goes on."""
        with contextlib.suppress(OSError):
            if self._shown:
                print(f"\r{' ' * len(self._shown)}\r", end="")  # noqa: T201
                self._shown = ""
            print(text, flush=True)  # noqa: T201

    def show(self, text: str) -> None:
        """Show how far something is, in place of what was shown before; to a person alone."""
        with contextlib.suppress(OSError):
            if self.is_there:
                print(f"\r{text.ljust(len(self._shown))}", end="", flush=True)  # noqa: T201
                self._shown = text

    def ask(self, question: str) -> str:
        """Ask for a line; empty at the end of the input."""
        return self._asked(question, input)

    def ask_hidden(self, question: str) -> str:
        """Ask for a line that the terminal does not show."""
        return self._asked(question, getpass.getpass) if self.is_there else sys.stdin.readline()

    def _asked(self, question: str, read: Callable[[str], str]) -> str:
        try:
            return read(question).strip()
        except EOFError:
            return ""

"""How the lab says what it does: a step at a time, with the seconds each took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from rich.console import Console
from rich.text import Text

Step = Callable[[str], AbstractContextManager[None]]
"""Given what is done, a context to do it in."""


@contextlib.contextmanager
def silently(title: str) -> Iterator[None]:
    """A ``Step`` that says nothing."""
    del title
    yield


def on(console: Console) -> Step:
    """A ``Step`` that shows a spinner on a terminal, and leaves a line ``TITLE  1.2 s`` there or in a file."""

    @contextlib.contextmanager
    def step(title: str) -> Iterator[None]:
        started_at = time.monotonic()
        waiting = console.status(Text(title)) if console.is_terminal else contextlib.nullcontext()
        with waiting:
            yield
        console.print(Text(f"{title:<52} {time.monotonic() - started_at:6.1f} s"), soft_wrap=True)

    return step

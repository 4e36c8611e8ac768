"""Times of day, windows of them, and time zones."""

from __future__ import annotations

from datetime import time
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from hearth.inventory.faults import quoted, suggestion
from hearth.inventory.model import Window


@cache
def parse_window(text: str) -> Window:
    """Given ``23:30-01:30``, return the window; raise ValueError when it is no such text or is empty."""
    start, separator, end = text.partition("-")
    if not separator or len(start) != 5 or len(end) != 5:
        raise ValueError(f"{text!r} is no window such as 03:00-05:00")
    window = Window(time.fromisoformat(start), time.fromisoformat(end))
    if window.start == window.end:
        raise ValueError("the window is empty")
    return window


@cache
def time_zone_fault(name: str) -> str | None:
    """What is wrong with a time zone's name, as a sentence, or None; the nearest known name is suggested."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        # OSError: a folder of zones ("Europe") or an unreadable file; KeyError: ZoneInfoNotFoundError.
        known = available_timezones()
        if not known:
            return "no time zone can be checked: this machine has no time zone data (install tzdata)"
        return f"there is no time zone {quoted(name)}{suggestion(name, known)}"
    return None

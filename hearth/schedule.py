"""When a box does its nightly work: inside its household's window, and not all boxes of a fleet at once."""

from __future__ import annotations

import hashlib
from datetime import time

from hearth.inventory.model import Window

DAY_MIN = 24 * 60


def length_min(window: Window) -> int:
    """How long a window is, in minutes; one whose end is before its start spans midnight."""
    start, end = minutes(window.start), minutes(window.end)
    return (end - start) % DAY_MIN or DAY_MIN


def minutes(moment: time) -> int:
    """Minutes since midnight."""
    return moment.hour * 60 + moment.minute


def at(window: Window, share: float) -> time:
    """The time of day at ``share`` (0 to 1) of the window."""
    total = (minutes(window.start) + int(length_min(window) * share)) % DAY_MIN
    return time(total // 60, total % 60)


def spread(window: Window, key: str, until: float = 0.5) -> time:
    """A time in the first ``until`` of the window that is the same for ``key`` each night and differs between keys.

    What starts there still has the rest of the window to finish in.
    """
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    return at(window, number * until)

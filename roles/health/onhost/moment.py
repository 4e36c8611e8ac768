"""The time at which a host is judged, and the way to ask it: what every check is handed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from .system import Run


@dataclass(frozen=True)
class Moment:
    """``now`` in seconds since 1970, the same for all checks; ``run`` runs a command."""

    now: float
    run: Run

    @staticmethod
    def at(seconds: float) -> datetime:
        """A time in seconds since 1970 as a datetime, UTC."""
        return datetime.fromtimestamp(seconds, UTC)

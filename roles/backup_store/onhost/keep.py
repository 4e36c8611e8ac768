"""Which snapshots stay: decided by when each arrived, by the store's own clock. Pure.

A snapshot says itself when it was made, and whoever has a box may let it say anything; when its file came, the store
knows. Ranges are counted back from the newest arrival, so that a household that was away loses nothing meanwhile. Of
each day, week and month the first and the last stay: whoever floods the store can spoil neither what came before him
nor what comes after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

DAY_S = 86_400
ALL_S = 7 * DAY_S
RANGES: tuple[tuple[int, Callable[[datetime], tuple[int, ...]]], ...] = (
    (30 * DAY_S, lambda at: (at.year, at.month, at.day)),
    (365 * DAY_S, lambda at: tuple(at.isocalendar()[:2])),
    (5 * 365 * DAY_S, lambda at: (at.year, at.month)),
)
"""For how long the first and last of each day, of each week and of each month stay."""

SLACK_S = 300
LEAP_S = 8 * DAY_S
REST_S = 30 * DAY_S


def kept(arrivals: Mapping[str, float]) -> frozenset[str]:
    """Given snapshots by name with when each arrived (seconds since 1970), return those that stay."""
    if not arrivals:
        return frozenset()
    ordered = sorted(arrivals, key=lambda name: (arrivals[name], name))
    newest = arrivals[ordered[-1]]
    stay = {name for name in ordered if newest - arrivals[name] <= ALL_S}
    for range_s, period in RANGES:
        firsts: dict[tuple[int, ...], str] = {}
        lasts: dict[tuple[int, ...], str] = {}
        for name in ordered:
            if newest - arrivals[name] <= range_s:
                which = period(datetime.fromtimestamp(arrivals[name], UTC))
                firsts.setdefault(which, name)
                lasts[which] = name
        stay |= {*firsts.values(), *lasts.values()}
    return frozenset(stay)


@dataclass(frozen=True)
class Ledger:
    """When each snapshot arrived, when the store last looked, and until when it rests since its clock leapt."""

    arrivals: Mapping[str, float] = field(default_factory=dict)
    looked_at: float = 0.0
    rests_until: float = 0.0


def observed(ledger: Ledger, files: Mapping[str, float], now: float) -> tuple[Ledger, str | None]:
    """Given the snapshots' files with their times, return the ledger with them, and why nothing may be forgotten now.

    A file's time counts within what the store can vouch for: since it last looked, until now. Once written down, an
    arrival stays, whatever happens to the file.
    """
    if now < ledger.looked_at - SLACK_S:
        gone_s = round(ledger.looked_at - now)
        return ledger, f"the store's clock went back by {gone_s} s; set it right, or say accept-clock"
    since = min(ledger.looked_at, now)
    arrivals = {name: ledger.arrivals.get(name, min(max(time, since), now)) for name, time in files.items()}
    rests_until = ledger.rests_until
    if ledger.looked_at and now - ledger.looked_at > LEAP_S:
        # The store was off for long, or its clock leapt: nobody can tell which from here.
        rests_until = now + REST_S
    new = Ledger(arrivals, now, rests_until)
    if now < rests_until:
        days = -int(-(rests_until - now) // DAY_S)
        return new, f"the store was off or its clock leapt; retention rests for {days} more days, or say accept-clock"
    return new, None


def clock_accepted(ledger: Ledger, now: float) -> Ledger:
    """The ledger once somebody has said that the clock is right: no arrival lies in the future, and nothing rests."""
    arrivals = {name: min(at, now) for name, at in ledger.arrivals.items()}
    return replace(ledger, arrivals=arrivals, looked_at=now, rests_until=0.0)

"""Going on with a run that was stopped or killed: what it left unsaid, and what is left to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from hearth.fleet.events import HostBegin, HostEnd, State, now
from hearth.fleet.records import Record
from hearth.fleet.run import operations
from hearth.fleet.verdict import Verdict


def unsaid(record: Record, verdicts: Mapping[str, Verdict], reached: Mapping[str, str]) -> list[HostEnd]:
    """The ends of those hosts in work whose own reports tell how it came out, though the run was killed before it
    could write them down.

    ``verdicts``: what the reports tell. ``reached``: the desired states of the hosts' last successful attempts.
    """
    begun = {event.host: event for event in record.events if isinstance(event, HostBegin)}
    found = []
    for host in sorted(record.in_work & set(verdicts)):
        begin, verdict = begun[host], verdicts[host]
        if verdict.outcome == "lost":
            continue
        changed, unchanged = operations(verdict, repaired=reached.get(host) == begin.desired_sha256)
        found.append(
            HostEnd(
                now(),
                host,
                begin.wave,
                begin.attempt,
                verdict.outcome,
                verdict.reason,
                verdict.duration_s,
                begin.desired_sha256,
                changed,
                unchanged,
            )
        )
    return found


def attempts_of(record: Record) -> dict[str, int]:
    """How often each host was tried in a run."""
    return dict(Counter(event.host for event in record.events if isinstance(event, HostBegin)))


def kept(record: Record, left: Collection[str]) -> dict[str, State]:
    """The states that stand: of the run's hosts that it will not go to again."""
    left = frozenset(left)
    return {host: record.state(host) for host in record.planned if host not in left}

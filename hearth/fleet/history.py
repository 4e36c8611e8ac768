"""What earlier runs tell: the desired state that each host last reached, who was not reached, who is gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from hearth.fleet.events import HostEnd, State
from hearth.fleet.records import Record

PENDING = ("unreported", "skipped")
WHOLE = ("all", "changed")
"""The selections that leave nothing undone when they succeed: to whom they do not go is as it should be already."""


@dataclass
class History:
    """``reached``: the SHA-256 of the desired state of each host's last successful attempt; ``states``: each host's
    state in the last run that ended an attempt on it; ``open_run``: the latest run that left something undone, unless
    a later run over all left nothing; ``in_work``: hosts that a killed run has begun since their last end, or
    has not looked at from outside since."""

    reached: dict[str, str] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    open_run: Record | None = None
    in_work: set[str] = field(default_factory=set)

    @property
    def pending(self) -> list[str]:
        """The hosts that the last run about them did not reach."""
        return [host for host, state in self.states.items() if state in PENDING]

    def is_settled(self, host: str, desired_sha256: str) -> bool:
        """Whether the last that is known of a host is that it became what it shall be now."""
        is_done = self.states.get(host) == "converged" and host not in self.in_work
        return is_done and self.reached.get(host) == desired_sha256


def history(latest_first: Iterable[Record], hosts: Collection[str]) -> History:
    """Read records, the latest first, until each of ``hosts`` has been seen to succeed."""
    found = History()
    closed = False
    for record in latest_first:
        undone = record.end is None or record.end.exit_status != 0
        if undone and not closed and record.begin.kind == "converge":
            found.open_run = record
        closed = closed or (record.begin.kind == "converge" and (undone or record.begin.selection in WHOLE))
        found.in_work |= {*record.in_work, *record.unseen} - set(found.states)
        for host in record.hosts:
            found.states.setdefault(host, record.state(host))
        for host, sha256 in reached_in(record).items():
            found.reached.setdefault(host, sha256)
        if closed and all(host in found.reached for host in hosts):
            break
    return found


def reached_in(record: Record) -> dict[str, str]:
    """The desired states that hosts reached in a run, by the last successful attempt."""
    ends = (event for event in record.events if isinstance(event, HostEnd) and event.result == "converged")
    return {event.host: event.desired_sha256 for event in ends}

"""The fleet as its records tell it, a row a host, with what the hosts themselves told beside it. Pure: data to data.

Silence is a state of its own: a host that no run could reach is *unreported*, which is neither good nor failed, and
one that no run has been to in the whole time looked at is *never*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from statistics import median
from typing import Literal, cast

from hearth.fleet.desired import kind_of
from hearth.fleet.events import HostEnd, RunKind
from hearth.fleet.records import Record
from hearth.inventory.hosts import Box, Fleet, Host

Kind = Literal["box", "relay", "store", "pi"]
Word = Literal["good", "warning", "bad"]
State = Literal["failed", "unreported", "warning", "waiting", "never", "good"]
STATES: tuple[State, ...] = ("failed", "unreported", "warning", "waiting", "never", "good")
"""What a host's row says, the most urgent first."""

DAY = timedelta(days=1)
BUCKETS = 30
"""Into how many parts the time looked at is cut for the pictures of drift."""
DURATIONS = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a host's health check found: ``required`` or ``wanted``, one sentence, and what to do next."""

    level: Literal["required", "wanted"]
    sentence: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host told of itself when it was asked. ``fault``: why it could not be asked, the rest is then unknown.

    ``disk_free``: of the fullest disk, the share (0 to 1) that is free; ``disk``: its path.
    """

    at: datetime
    fault: str | None = None
    verdict: Word | None = None
    findings: tuple[Finding, ...] = ()
    certificate_until: datetime | None = None
    updates: int | None = None
    security_updates: int | None = None
    reboot_required: bool | None = None
    disk: str | None = None
    disk_free: float | None = None
    tunnel_since: datetime | None = None
    backup_at: datetime | None = None
    proven_at: datetime | None = None
    cloud_version: str | None = None
    debian_version: str | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """What became of one host in one run. ``state``: as the record has it; ``commit``: of the inventory."""

    at: datetime
    state: str
    reason: str | None
    commit: str | None
    duration_s: float = 0.0
    corrective: int = 0
    intended: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the fleet, summed up. ``states``: how many hosts ended how; ``drifted``: hosts with drift repaired.

    ``exit_status``: None while it goes on, and for ever when it was killed.
    """

    id: str
    at: datetime
    kind: RunKind
    who: str
    commit: str | None
    exit_status: int | None
    states: dict[str, int]
    median_s: float | None
    corrective: int
    drifted: int


@dataclass(frozen=True, slots=True)
class Row:
    """One host. ``why``: the state in a sentence, empty when there is nothing to say. ``visits``: the latest first.

    ``drift``: operations that repaired drift, in ``BUCKETS`` parts of the time looked at, the oldest first.
    ``release``: what the inventory pins, as in ``owncloud 11.0.0``. ``url``: where the household's cloud is.
    ``drilled_at``: when its backup last came back in a drill on this machine.
    """

    host: str
    kind: Kind
    state: State
    why: str
    household: str | None
    domain: str | None
    url: str | None
    relay: str | None
    release: str | None
    converged_at: datetime | None
    last: Visit | None
    drift: tuple[int, ...]
    durations_s: tuple[float, ...]
    answer: Answer | None
    drilled_at: datetime | None = None

    @property
    def proven_at(self) -> datetime | None:
        """When the household's backup last came back: files that the box restored itself, or all of it in a drill."""
        found = (self.answer.proven_at if self.answer else None, self.drilled_at)
        return max((at for at in found if at), default=None)

    @property
    def drift_sum(self) -> int:
        """How many operations repaired drift in the time looked at."""
        return sum(self.drift)

    def certificate_days(self, at: datetime) -> int | None:
        """How many whole days the certificate that the host serves has left; None when nobody asked."""
        until = self.answer.certificate_until if self.answer else None
        return (until - at) // DAY if until else None


@dataclass(frozen=True, slots=True)
class Status:
    """The fleet at the time ``at``: rows in the inventory's order, runs the latest first, looked at for ``days``."""

    fleet: str
    at: datetime
    days: int
    live: bool
    rows: tuple[Row, ...]
    runs: tuple[Run, ...]

    @property
    def counts(self) -> dict[State, int]:
        """How many hosts are in each state, the most urgent first."""
        found = Counter(row.state for row in self.rows)
        return {state: found[state] for state in STATES}


@dataclass(frozen=True, slots=True)
class History:
    """What the records of a time tell: of each host its visits, and the runs; the latest first in both."""

    visits: Mapping[str, Sequence[Visit]]
    runs: tuple[Run, ...]


def history(records: Iterable[Record], since: datetime) -> History:
    """Given records, the latest first, return what those that began after ``since`` tell, one in memory at a time."""
    visits: dict[str, list[Visit]] = {}
    runs = []
    for record in takewhile(lambda record: record.begin.time > since, records):
        for host in record.planned:
            visits.setdefault(host, []).append(_visit(record, host))
        runs.append(_run(record))
    return History(visits, tuple(runs))


def status(
    fleet: Fleet,
    hosts: Iterable[Host],
    told: History,
    at: datetime,
    days: int,
    answers: Mapping[str, Answer] | None = None,
    drilled: Mapping[str, datetime] | None = None,
) -> Status:
    """Put the fleet's ``hosts``, their visits and their ``answers`` together (None when nobody was asked).

    ``drilled``: when each household's backup last came back in a drill.
    """
    span = timedelta(days=days)
    rows = (
        replace(
            _row(host, told.visits.get(host.name, ()), (answers or {}).get(host.name), at, span),
            drilled_at=(drilled or {}).get(host.household.id) if isinstance(host, Box) else None,
        )
        for host in hosts
    )
    return Status(fleet.name, at, days, answers is not None, tuple(rows), told.runs)


def _visit(record: Record, host: str) -> Visit:
    state, end, commit = record.state(host), record.hosts.get(host), record.begin.origin.commit
    if end is None or state == "waiting":
        return Visit(record.begin.time, state, None, commit)
    return Visit(end.time, state, end.reason, commit, end.duration_s, end.corrective, end.intended)


def _run(record: Record) -> Run:
    ends: list[HostEnd] = list(record.hosts.values())
    worked = [end.duration_s for end in ends if end.result == "converged"]
    corrective = [end.corrective for end in ends]
    return Run(
        id=record.begin.run,
        at=record.begin.time,
        kind=record.begin.kind,
        who=record.begin.origin.who,
        commit=record.begin.origin.commit,
        exit_status=record.end.exit_status if record.end else None,
        states=dict(Counter(record.state(host) for host in record.planned)),
        median_s=median(worked) if worked else None,
        corrective=sum(corrective),
        drifted=sum(count > 0 for count in corrective),
    )


def _row(host: Host, visits: Sequence[Visit], answer: Answer | None, at: datetime, span: timedelta) -> Row:
    box = host.household if isinstance(host, Box) else None
    state, why = judge(visits[0] if visits else None, answer)
    good = [visit for visit in visits if visit.state == "converged"]
    port = f":{box.public_port}" if box and box.public_port not in (None, 443) else ""
    return Row(
        host=host.name,
        kind=cast(Kind, kind_of(host)),
        state=state,
        why=why,
        household=box.id if box else None,
        domain=box.domain if box else None,
        url=f"https://{box.domain}{port}/" if box else None,
        relay=box.relay if box else None,
        release=f"{box.owncloud.release.product} {box.owncloud.release.version}" if box else None,
        converged_at=good[0].at if good else None,
        last=visits[0] if visits else None,
        drift=buckets([(visit.at, visit.corrective) for visit in visits], at - span, at),
        durations_s=tuple(visit.duration_s for visit in reversed(good[:DURATIONS])),
        answer=answer,
    )


def judge(last: Visit | None, answer: Answer | None) -> tuple[State, str]:
    """Given the last visit and the host's own answer, return the host's state and the reason in a sentence.

    The answer is the younger of the two, so it wins; but a host that is well and was not converged still waits.
    """
    if answer is not None and answer.fault is not None:
        return "unreported", answer.fault
    word = answer.verdict if answer else None
    finding = answer.findings[0].sentence if answer and answer.findings else ""
    recorded, why = _recorded(last)
    if word == "bad":
        return "failed", finding
    if recorded == "unreported" and word is not None:
        return "waiting", "it answers again: `hearth converge --pending`"
    if recorded == "never" and word is not None:
        recorded, why = "good", ""
    return ("warning", finding) if recorded == "good" and word == "warning" else (recorded, why)


def _recorded(last: Visit | None) -> tuple[State, str]:
    """The state that the records alone give."""
    if last is None:
        return "never", "no run has been here in the time looked at"
    if last.state == "converged":
        return "good", ""
    if last.state == "failed":
        return "failed", last.reason or "its last converge failed"
    if last.state == "unreported":
        return "unreported", last.reason or "the last run did not reach it"
    return "waiting", last.reason or "the last run ended before it came here: `hearth converge --resume`"


def buckets(counts: Iterable[tuple[datetime, int]], since: datetime, until: datetime) -> tuple[int, ...]:
    """Sum ``counts`` in ``BUCKETS`` equal parts of the time between, the oldest first; what is outside is left out."""
    found = [0] * BUCKETS
    for at, count in counts:
        if since < at <= until:
            found[min(BUCKETS - 1, int((at - since) / (until - since) * BUCKETS))] += count
    return tuple(found)

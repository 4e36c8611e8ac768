"""What a run's record consists of: one frozen dataclass an event, to JSON and back. See schemas/record.schema.json.

No secret is ever in them: operations are named and counted, never shown, and sentences are masked before they come
here (``hearth.fleet.masking``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal

RunKind = Literal["converge", "drift"]
Selection = Literal["all", "changed", "limit", "pending", "since"]
Result = Literal["converged", "failed", "unreported", "skipped"]
State = Literal["converged", "failed", "unreported", "skipped", "waiting"]
Change = Literal["none", "corrective", "intended"]


@dataclass(frozen=True)
class Versions:
    """The versions of what ran."""

    hearth: str
    pyinfra: str
    python: str


@dataclass(frozen=True)
class Budgets:
    """The limits of a run as they were typed: a number or a share such as ``10%``; None means no limit."""

    max_failures: str | None = None
    max_removals: str | None = None


@dataclass(frozen=True)
class Origin:
    """Where a run's desired state came from, and who asked for it.

    ``commit``: the inventory's git commit, None outside a repository; ``dirty``: whether files differed from it.
    ``signer``: by whose signature the commit was let in, None where nobody verified one.
    """

    who: str
    commit: str | None
    dirty: bool
    inventory_sha256: str
    versions: Versions
    signer: str | None = None


@dataclass(frozen=True)
class Operation:
    """An operation that changed something or failed. ``name`` is the operation's own, role first."""

    name: str
    change: Change
    failed: bool = False
    duration_s: float = 0.0


@dataclass(frozen=True)
class Check:
    """One look from outside; ``reason`` says in a sentence why it did not pass, None when it did."""

    name: str
    passed: bool
    reason: str | None = None


@dataclass(frozen=True)
class RunBegin:
    """A run begins: what it will do, wave by wave.

    ``households``: all of the inventory, each with its slot. ``since``: the commit that it was compared with, if any.
    """

    time: datetime
    run: str
    fleet: str
    kind: RunKind
    selection: Selection
    origin: Origin
    waves: tuple[tuple[str, ...], ...]
    budgets: Budgets = Budgets()
    households: dict[str, int] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    since: str | None = None


@dataclass(frozen=True)
class RunResume:
    """A run that was stopped or killed goes on; ``waves`` are those that are left."""

    time: datetime
    origin: Origin
    waves: tuple[tuple[str, ...], ...]
    budgets: Budgets = Budgets()


@dataclass(frozen=True)
class WaveBegin:
    """A wave begins; waves are counted from 1 within a begin or a resume."""

    time: datetime
    wave: int
    hosts: int


@dataclass(frozen=True)
class HostBegin:
    """A host is in work. Without a HostEnd after it nobody knows what became of it."""

    time: datetime
    host: str
    wave: int
    attempt: int
    desired_sha256: str


@dataclass(frozen=True)
class HostEnd:
    """A host's attempt is over.

    ``desired_sha256``: of what the host should be; a change under the hash of the host's last successful run is
    *corrective*, any other *intended*. ``operations``: those that changed something or failed, in their order;
    ``unchanged`` counts the rest. ``skipped``: its ``reason`` says why nobody went there.
    """

    time: datetime
    host: str
    wave: int
    attempt: int
    result: Result
    reason: str | None
    duration_s: float
    desired_sha256: str
    operations: tuple[Operation, ...] = ()
    unchanged: int = 0

    @property
    def corrective(self) -> int:
        """How many operations repaired drift."""
        return sum(each.change == "corrective" for each in self.operations)

    @property
    def intended(self) -> int:
        """How many operations brought a new desired state."""
        return sum(each.change == "intended" for each in self.operations)


@dataclass(frozen=True)
class Gate:
    """What a converged host looks like from outside."""

    time: datetime
    host: str
    wave: int
    passed: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class WaveEnd:
    """A wave is over; ``passed``: the next one may begin, else ``reason`` says why not."""

    time: datetime
    wave: int
    passed: bool
    reason: str | None = None


@dataclass(frozen=True)
class RunEnd:
    """A run is over: its exit status, a sentence, and the state of every host that it was about.

    ``waiting``: the run ended before it came to this host.
    """

    time: datetime
    exit_status: int
    reason: str
    duration_s: float
    states: dict[str, State]


Event = RunBegin | RunResume | WaveBegin | HostBegin | HostEnd | Gate | WaveEnd | RunEnd
EVENTS: dict[str, type[Event]] = {
    "run-begin": RunBegin,
    "run-resume": RunResume,
    "wave-begin": WaveBegin,
    "host-begin": HostBegin,
    "host-end": HostEnd,
    "gate": Gate,
    "wave-end": WaveEnd,
    "run-end": RunEnd,
}
_WORDS = {kind: word for word, kind in EVENTS.items()}


def now() -> datetime:
    """The time of an event: UTC, in whole milliseconds."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def to_data(event: Event) -> dict[str, Any]:
    """The event as plain data; ``event`` is its word and ``time`` is ISO 8601 in UTC."""
    told = event.time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"event": _WORDS[type(event)], **asdict(event), "time": told}


def from_data(data: dict[str, Any]) -> Event | None:
    """The event that ``to_data`` made this of; None for an event that only a newer hearth knows.

    Properties that are not known are left out. Raises KeyError, TypeError or ValueError when it is no event at all.
    """
    kind = EVENTS.get(data["event"])
    if kind is None:
        return None
    known = {each.name for each in fields(kind)}
    values = {name: _READERS.get(name, _same)(value) for name, value in data.items() if name in known}
    return kind(**values)


def _same(value: Any) -> Any:
    return value


def _origin(value: dict[str, Any]) -> Origin:
    return Origin(**{**value, "versions": Versions(**value["versions"])})


_READERS: dict[str, Any] = {
    "time": datetime.fromisoformat,
    "origin": _origin,
    "budgets": lambda value: Budgets(**value),
    "waves": lambda value: tuple(tuple(wave) for wave in value),
    "removed": tuple,
    "operations": lambda value: tuple(Operation(**each) for each in value),
    "checks": lambda value: tuple(Check(**each) for each in value),
}

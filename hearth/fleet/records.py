"""The records of runs: JSON Lines, one file a run, below a state folder outside the repository.

An event counts once its newline is on the disk (each is written in one piece and synced), so a killed run leaves all
that it told and at most one line that is cut off. Such a line is told apart by its missing newline and taken away
when the run is resumed.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from hearth.fleet.errors import RunError
from hearth.fleet.events import (
    Event,
    Gate,
    HostBegin,
    HostEnd,
    RunBegin,
    RunEnd,
    RunResume,
    State,
    WaveEnd,
    from_data,
    to_data,
)

SUFFIX = ".jsonl"


class RecordError(RunError):
    """A record cannot be read or written; the message says which, and what to do."""


def fleet_folder(fleet: str) -> Path:
    """Where this machine keeps what it knows of a fleet's runs: ``$XDG_STATE_HOME/hearth/FLEET``."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser())
    return state / "hearth" / fleet


def runs_folder(fleet: str) -> Path:
    """Where a fleet's records are."""
    return fleet_folder(fleet) / "runs"


def new_run_id(moment: datetime) -> str:
    """An id for a run that begins now: its names sort by time, and two of the same millisecond differ."""
    at = moment.astimezone(UTC)
    return f"{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03}Z-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class Record:
    """A run as its record tells it. ``cut``: the last line was not wholly written, so the run was killed."""

    path: Path
    events: tuple[Event, ...]
    cut: bool = False

    @cached_property
    def begin(self) -> RunBegin:
        """How the run began; ``read`` has seen to it that there is one."""
        return next(event for event in self.events if isinstance(event, RunBegin))

    @property
    def end(self) -> RunEnd | None:
        """How the run ended; None while it goes on, and for ever when it was killed and not resumed."""
        last = self.events[-1]
        return last if isinstance(last, RunEnd) else None

    @cached_property
    def hosts(self) -> dict[str, HostEnd]:
        """The last attempt of each host that has one."""
        return {event.host: event for event in self.events if isinstance(event, HostEnd)}

    @cached_property
    def planned(self) -> tuple[str, ...]:
        """Every host that the run is about, in its order, those that a resumption added last."""
        waves = (event.waves for event in self.events if isinstance(event, RunBegin | RunResume))
        return tuple(dict.fromkeys(host for some in waves for wave in some for host in wave))

    @cached_property
    def in_work(self) -> frozenset[str]:
        """The hosts that were begun and not ended: nobody knows what became of them."""
        open_hosts: set[str] = set()
        for event in self.events:
            if isinstance(event, HostBegin):
                open_hosts.add(event.host)
            elif isinstance(event, HostEnd):
                open_hosts.discard(event.host)
        return frozenset(open_hosts)

    @cached_property
    def unseen(self) -> dict[str, int]:
        """The hosts that converged in a run which was killed before it had looked at them from outside, with their
        wave. Of a run that does not look it is those of its last wave."""
        found: dict[str, int] = {}
        for event in self.events if self.end is None else ():
            if isinstance(event, WaveEnd):
                found.clear()
            elif isinstance(event, HostEnd | Gate):
                found.pop(event.host, None)
            if isinstance(event, HostEnd) and event.result == "converged":
                found[event.host] = event.wave
        return found

    def state(self, host: str) -> State:
        """A host's state: what the run's end says, else its last attempt and its gate, else *waiting*."""
        if self.end is not None and host in self.end.states:
            return self.end.states[host]
        if host not in self.hosts or host in self.in_work:
            return "waiting"
        return "failed" if host in self.gated_off else self.hosts[host].result

    @cached_property
    def gated_off(self) -> frozenset[str]:
        """The hosts whose last look from outside was not as it should be."""
        last = {event.host: event.passed for event in self.events if isinstance(event, Gate)}
        return frozenset(host for host, passed in last.items() if not passed)


class Writer:
    """Appends events to a record. Closing it ends nothing: only a ``RunEnd`` says that a run is over."""

    def __init__(self, path: Path) -> None:
        """Open a record, made if it is not there; what a killed run left half written at its end is taken away.

        Raises RecordError when the folder cannot be written.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _cut_off(self._file)
        except OSError as fault:
            raise RecordError(f"cannot write the record {path}: {fault.strerror}") from fault
        self.path = path

    def add(self, event: Event) -> None:
        """Write an event; when this returns, the event survives a kill and a power cut. Raises RecordError."""
        line = json.dumps(to_data(event), ensure_ascii=False, separators=(",", ":")) + "\n"
        try:
            # One write with O_APPEND: lines of different threads do not mix.
            written = os.write(self._file, line.encode())
            os.fsync(self._file)
        except OSError as fault:
            raise RecordError(f"cannot write the record {self.path}: {fault.strerror}") from fault
        if written != len(line.encode()):
            raise RecordError(f"cannot write the record {self.path}: the disk is full")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _cut_off(file: int) -> None:
    """Take away what stands after the last newline."""
    size = os.fstat(file).st_size
    kept = os.pread(file, size, 0).rfind(b"\n") + 1
    if kept < size:
        os.ftruncate(file, kept)
        os.fsync(file)


def read(path: Path) -> Record:
    """Read a record. Raises RecordError when it is none, naming the line."""
    try:
        whole = path.read_bytes()
    except OSError as fault:
        raise RecordError(f"cannot read the record {path}: {fault.strerror}") from fault
    *lines, rest = whole.split(b"\n")
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        try:
            event = from_data(json.loads(line))
        except (KeyError, TypeError, ValueError) as fault:
            raise RecordError(f"{path}:{number}: this line is no event of a record: move the file away") from fault
        if event is not None:
            events.append(event)
    if not any(isinstance(event, RunBegin) for event in events):
        raise RecordError(f"{path}: this record has no beginning: move the file away")
    return Record(path, tuple(events), cut=bool(rest))


def paths(folder: Path) -> list[Path]:
    """The records of a folder, the latest first; none when there is no such folder."""
    return sorted(folder.glob(f"*{SUFFIX}"), reverse=True)


def latest_first(folder: Path) -> Iterator[Record]:
    """Read a folder's records, the latest first. A file that a kill left without its first line is passed over.

    Raises RecordError for any other that is none.
    """
    for path in paths(folder):
        if path.stat().st_size and b"\n" in path.read_bytes():
            yield read(path)

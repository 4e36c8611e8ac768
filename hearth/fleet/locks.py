"""Who may work: one run on a fleet, one process on a host.

Both are flock(2) on files of the state folder: the kernel lets go of them when the last process that has the file open
is gone, so a kill leaves none behind. A slice's process inherits its hosts' locks, and holds them for as long as it
lives, also when the run that started it was killed. ``hearth.hostlock`` does the same on the host itself, for runs
on several machines.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hearth.fleet.errors import RunError
from hearth.fleet.events import now

TRY_EVERY_S = 0.2


class BusyError(RunError):
    """Somebody else has the lock; the message says who, since when, and what to do."""


@dataclass(frozen=True)
class Holder:
    """Who holds a fleet's lock, for the sentence that refuses the next one. ``since``: in UTC."""

    who: str
    process: int
    since: str


@contextmanager
def fleet_lock(folder: Path, who: str) -> Iterator[None]:
    """Be the only run on a fleet. ``folder``: the fleet's state folder. Raises BusyError at once if another one is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = _opened(folder / "lock")
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(_refusal(os.pread(file, 4096, 0))) from None
        holder = Holder(who, os.getpid(), f"{now():%Y-%m-%d %H:%M}")
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(asdict(holder)).encode(), 0)
        yield
    finally:
        os.close(file)


def _refusal(told: bytes) -> str:
    try:
        holder = Holder(**json.loads(told))
    except (ValueError, TypeError):
        return "another run is at work on this fleet: wait until it has ended"
    return (
        f"{holder.who} is at work on this fleet since {holder.since} UTC (process {holder.process}): "
        "wait until that run has ended"
    )


@contextmanager
def host_locks(folder: Path, hosts: Iterable[str], patience_s: float) -> Iterator[tuple[dict[str, int], list[str]]]:
    """Lock hosts one by one, in the order of their names; yield the open files of those that were had, and the others.

    ``folder``: the fleet's state folder. ``patience_s``: how long to wait for all of them together; processes of a
    killed run are about to end.
    """
    held: dict[str, int] = {}
    busy: list[str] = []
    until = time.monotonic() + patience_s
    try:
        for host in sorted(hosts):
            file = _locked(folder / "hosts" / f"{host}.lock", until)
            if file is None:
                busy.append(host)
            else:
                held[host] = file
        yield held, busy
    finally:
        for file in held.values():
            os.close(file)


def _locked(path: Path, until: float) -> int | None:
    """Open and lock a file; None when somebody else still has it at ``until`` (a time of ``time.monotonic()``)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = _opened(path)
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(file)
                return None
            time.sleep(TRY_EVERY_S)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

"""What a lab remembers of its hosts, in ``lab.json`` in its state folder; and the locks of labs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hearth.lab.process import LabError
from hearth.lab.topology import Member

LOCKS = Path("/run/lock/hearth-lab")


@dataclass(frozen=True)
class HostRecord:
    """A host: its Debian release, what lies under its own files, and whether its bench link is plugged in.

    ``layers``: read-only folders, the uppermost first, the base last.
    """

    suite: str
    layers: tuple[str, ...]
    bench: bool = True


@dataclass(frozen=True)
class SnapshotRecord:
    """A host's files at one moment: a base and the layers on it."""

    host: str
    suite: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class LabState:
    """What a lab remembers. ``members``: whom it can start; ``hosts``: whom it has started; ``operator``: a name.

    ``services``: the base that its daemons run from, a path.
    """

    operator: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    hosts: dict[str, HostRecord] = field(default_factory=dict)
    snapshots: dict[str, SnapshotRecord] = field(default_factory=dict)
    services: str = ""

    def member(self, name: str) -> Member:
        """The member of that name; raise ``LabError`` if there is none."""
        if name not in self.members:
            raise LabError(f"There is no host {name!r} in this lab: it has {', '.join(self.members) or 'none'}.")
        return self.members[name]

    def with_host(self, name: str, record: HostRecord) -> LabState:
        """The same with this host's record put or replaced."""
        return replace(self, hosts={**self.hosts, name: record})

    def with_snapshot(self, name: str, record: SnapshotRecord) -> LabState:
        """The same with this snapshot's record put or replaced."""
        return replace(self, snapshots={**self.snapshots, name: record})


def load(folder: Path) -> LabState:
    """The record in a lab's state folder; an empty one if there is none. Raises ``LabError`` if it is damaged."""
    raw = read_json(folder / "lab.json")
    if raw is None:
        return LabState()
    try:
        return LabState(
            operator=raw["operator"],
            members={name: Member(**_tuples(one)) for name, one in raw["members"].items()},
            hosts={name: HostRecord(**_tuples(one)) for name, one in raw["hosts"].items()},
            snapshots={name: SnapshotRecord(**_tuples(one)) for name, one in raw["snapshots"].items()},
            services=raw.get("services", ""),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise LabError(f"{folder}/lab.json is not a lab's record: run `hearth lab down` and start anew.") from error


def save(folder: Path, state: LabState) -> None:
    """Replace the record in a lab's state folder."""
    write_json(folder / "lab.json", asdict(state))


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the machine's lock ``name``: a lab's name, or one that begins with a dot for what all labs share.

    The file goes when the lock is let go, so that labs leave nothing behind.
    """
    LOCKS.mkdir(parents=True, exist_ok=True)
    path = LOCKS / f"{name}.lock"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Whoever held the lock before has removed the file: then this is a lock on nothing, and once more.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                break
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if there is no file. Raises ``LabError`` if it is damaged."""
    try:
        raw = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LabError(f"{path} is damaged: remove it.") from error
    return raw if isinstance(raw, dict) else {}


def write_json(path: Path, raw: dict[str, Any]) -> None:
    """Replace a JSON file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(raw, indent=2) + "\n")
    new.replace(path)


def _tuples(raw: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where the records have tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}

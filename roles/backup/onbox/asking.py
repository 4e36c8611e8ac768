"""What the household is asked and told at the console: its key, which of its backups, and whether it is sure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import paperkey, source
from .common import Fault
from .repository import key_file
from .restoring import Description, State
from .source import Snapshot, Source
from .staged import Manifest
from .terminal import Terminal

TRIES = 3
LISTED = 10
MB = 1_000_000


@dataclass(frozen=True)
class Wishes:
    """What was asked for. ``snapshot``: the beginning of the id of another backup than the newest.

    ``sure``: ask for no confirmation. ``replacing``: put it in the place of data that this box has of its own.
    ``drill``: the old box may be on, and the household's name stays there.
    """

    snapshot: str = ""
    sure: bool = False
    replacing: bool = False
    drill: bool = False


@contextlib.contextmanager
def typed_key(terminal: Terminal, described: Description) -> Iterator[Path]:
    """Ask for the paper key until its form is right, and keep it in memory alone. Raises Fault."""
    for attempt in range(1, TRIES + 1):
        typed = terminal.ask_hidden(f"The key on the sheet of {described.source} (it is not shown): ")
        try:
            key = paperkey.parse(typed)
            break
        except paperkey.Mistyped as fault:
            if not terminal.is_there or attempt == TRIES:
                raise Fault(f"{fault}; nothing was changed") from None
            terminal.say(f"{fault}.")
    with key_file(key) as path:
        yield path


def opened(old: Source, terminal: Terminal) -> tuple[Snapshot, ...]:
    """The old backups, newest first, listed for a person. Raises Fault when the key does not open them."""
    found = source.snapshots(old)
    terminal.say(f"The key opens the backup of {old.name}. Its newest backups:")
    for snapshot in found[:LISTED]:
        terminal.say(f"  {snapshot.id[:8]}  {age(snapshot.time)}")
    return found


def chosen(found: tuple[Snapshot, ...], under_way: State | None, wishes: Wishes, terminal: Terminal) -> Snapshot:
    """The backup to restore: the one asked for, the one that was begun with, or the newest. Raises Fault."""
    if wishes.snapshot:
        return named(found, wishes.snapshot)
    begun = [snapshot for snapshot in found if under_way and snapshot.id == under_way.snapshot]
    if begun:
        terminal.say(f"A restore of {begun[0].id[:8]} was begun and not ended; it goes on.")
    return begun[0] if begun else found[0]


def named(found: tuple[Snapshot, ...], beginning: str) -> Snapshot:
    """The one backup whose id begins so. Raises Fault."""
    fitting = [snapshot for snapshot in found if snapshot.id.startswith(beginning)]
    if len(fitting) != 1:
        many = "no backup's name begins" if not fitting else f"the names of {len(fitting)} backups begin"
        raise Fault(f"{many} with {beginning!r}; nothing was changed")
    return fitting[0]


def age(time_text: str) -> str:
    """A time of restic's as people read it, with how long ago that is."""
    moment = datetime.fromisoformat(time_text).astimezone(UTC)
    hours = int((datetime.now(UTC) - moment).total_seconds() // 3600)
    ago = "within the last hour" if hours < 1 else f"{hours} hours ago" if hours < 48 else f"{hours // 24} days ago"
    return f"{moment:%Y-%m-%d %H:%M} UTC, {ago}"


def show(manifest: Manifest, snapshot: Snapshot, terminal: Terminal) -> None:
    """Tell what is in a backup."""
    terminal.say(
        f"Backup {snapshot.id[:8]} of {manifest.household}, {age(snapshot.time)}: {manifest.files} files, "
        f"{manifest.bytes / MB:.0f} MB, {manifest.product} {manifest.version}, of "
        f"{', '.join(sorted(manifest.users)) or 'nobody'}."
    )


def progress(told: dict[str, Any]) -> str:
    """How far restic is, for a person."""
    share, done, total = (told.get(name) or 0 for name in ("percent_done", "bytes_restored", "total_bytes"))
    return f"  {100 * share:.0f} %  {done / MB:.0f} of {total / MB:.0f} MB"

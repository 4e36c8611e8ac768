"""The store's program. ``keep`` is the timer's, ``watch`` a service's; the others are for people."""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from . import trees
from .keep import clock_accepted
from .model import Places, Settings, State, Tenant, read_settings, read_state, write_state
from .quota import measured
from .retention import CHECKED, Keeper

USAGE = """usage: hearth-store VERB
  keep                   measure quotas, and do what retention has to do now (the timer's)
  watch                  take over at once what boxes have cleared up, for ever (the service's)
  status                 a JSON object for each household
  accept HOUSEHOLD       its data may shrink by more than half, once
  accept-clock           the clock is right, whatever it was before
  put-back HOUSEHOLD     bring back what retention replaced last; what is there now waits in its place
  remove HOUSEHOLD       remove what is left of a household that is in the inventory no more"""


WATCH_S = 2

# As the inventory's schema has it. What is typed here becomes a path.
_ID = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """One at a time."""
    with (root / "state/.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def keep(settings: Settings, places: Places) -> int:
    """Look after every household; one that fails keeps no other from it. 1 when one failed."""
    failed = 0
    for tenant in settings.tenants:
        try:
            before = read_state(places.state(tenant.id))
            measured(places, tenant)
            state = Keeper(places, settings.grace_days).keep(tenant)
        except (OSError, ValueError) as fault:
            print(f"{tenant.id}: {fault}", file=sys.stderr)
            failed = 1
            continue
        for sentence in news(tenant, before, state):
            print(f"{tenant.id}: {sentence}")
    return failed


def cleared_up(settings: Settings, places: Places) -> Settings:
    """The settings with those households alone whose box says that it has cleared up what it was offered."""
    said = {path.parent.name for path in (places.root / "offers").glob(f"*/{CHECKED}")}
    return replace(settings, tenants=tuple(each for each in settings.tenants if each.id in said))


def take_over(settings: Settings, places: Places, notes: Path) -> None:
    """Look after the households whose box has cleared up, if there are any."""
    ready = cleared_up(settings, places)
    if ready.tenants:
        with alone(settings.root):
            keep(ready, places)
            note(notes, settings, places)


def watch(settings: Settings, places: Places, notes: Path) -> NoReturn:
    """Take over what boxes clear up, until the process is ended.

    It looks and looks again. A path unit of systemd takes one of the kernel's inotify instances for each path, of which
    root has 128 by default, so it cannot watch a household's each. Only households with an offer have a folder here.
    """
    while True:
        take_over(settings, places, notes)
        # A clone that says so while a lock is there is looked at again, and that shall not spin.
        time.sleep(WATCH_S)


def news(tenant: Tenant, before: State, now: State) -> Iterator[str]:
    """What has come about, for the journal."""
    for sentence, earlier in ((now.clock, before.clock), (now.told, before.told)):
        if sentence and sentence != earlier:
            yield sentence
    if now.full != before.full:
        yield f"{now.bytes} of {tenant.quota_bytes} bytes: {'takes nothing new' if now.full else 'takes backups again'}"
    if now.offer and not before.offer:
        yield f"offered for clearing up, {len(now.offer.snapshots)} snapshots stay"
    if before.offer and not now.offer and now.next_at > before.next_at and not now.told:
        yield "cleared up; what it was before waits"


def warnings(tenant: Tenant, state: State) -> Iterator[str]:
    """What somebody should know."""
    if state.full:
        yield f"{tenant.id} has spent its quota of {tenant.quota_bytes} bytes, and its backups are refused"
    for sentence in (state.clock, state.told):
        if sentence:
            yield f"{tenant.id}: {sentence}"


def note(file: Path, settings: Settings, places: Places) -> None:
    """Write the warnings where everybody may read them, a line each; see ``roles/health``."""
    lines = [line for tenant in settings.tenants for line in warnings(tenant, read_state(places.state(tenant.id)))]
    new = file.with_suffix(".new")
    new.write_text("".join(f"{line}\n" for line in lines))
    new.chmod(0o644)
    new.replace(file)


def described(places: Places, tenant: Tenant) -> dict[str, object]:
    """A household for ``status``."""
    state = read_state(places.state(tenant.id))
    newest = max(state.ledger.arrivals.values(), default=None)
    return {
        "household": tenant.id,
        "bytes": state.bytes,
        "quota_bytes": tenant.quota_bytes,
        "full": state.full,
        "snapshots": len(state.ledger.arrivals),
        "newest": newest,
        "offered": state.offer is not None,
        "waiting": sorted(path.name for path in (places.root / "grace").glob(f"{tenant.id}@*")),
        "clock": state.clock,
        "told": state.told,
    }


def put_back(places: Places, household: str) -> str:
    """Exchange a repository with what retention replaced last; return a sentence. Raises ValueError for none."""
    waiting = sorted((places.root / "grace").glob(f"{household}@*"), key=lambda path: int(path.name.rpartition("@")[2]))
    if not waiting:
        raise ValueError(f"nothing waits of {household}")
    state = read_state(places.state(household))
    # The offer belongs to what goes: its fingerprint fits no more, and the next run withdraws it.
    trees.exchange(places.live(household), waiting[-1])
    write_state(places.state(household), replace(state, next_at=time.time() + 28 * 86_400))
    return f"{household} is as it was before {waiting[-1].name}, where the other one waits now"


def removed(settings: Settings, places: Places, household: str) -> str:
    """Remove all of a household that the inventory does not name any more; return a sentence. Raises ValueError."""
    if household in {tenant.id for tenant in settings.tenants}:
        raise ValueError(f"{household} is in the inventory, and has its backups here; take it out first, and converge")
    found = [
        path for path in (places.live(household), *(places.root / "grace").glob(f"{household}@*")) if path.is_dir()
    ]
    if not found:
        raise ValueError(f"there is nothing of {household} here")
    for path in found:
        trees.remove(path)
    places.state(household).unlink(missing_ok=True)
    return f"nothing of {household} is left here"


def named(household: str) -> str:
    """A household's id, as typed. Raises ValueError when it can be none."""
    if not _ID.fullmatch(household):
        raise ValueError(f"{household!r} is no household's id")
    return household


def main(arguments: Sequence[str]) -> int:
    """Run one verb; exit status 0, or 1 with one sentence on stderr."""
    os.umask(0o077)
    try:
        settings = read_settings()
        places = Places(settings.root)
        if arguments[:2] == ["watch", "--notes"] and len(arguments) == 3:
            watch(settings, places, Path(arguments[2]))
        with alone(settings.root):
            return _run(arguments, settings, places)
    except (OSError, ValueError) as fault:
        print(fault, file=sys.stderr)
        return 1


def _run(arguments: Sequence[str], settings: Settings, places: Places) -> int:
    match arguments:
        case ["keep", *rest]:
            failed = keep(settings, places)
            if rest[:1] == ["--notes"]:
                note(Path(rest[1]), settings, places)
            return failed
        case ["status"]:
            for tenant in settings.tenants:
                print(json.dumps(described(places, tenant)))
        case ["accept", household]:
            file = places.state(named(household))
            write_state(file, replace(read_state(file), collapse_accepted=True, told=None, next_at=0.0))
        case ["accept-clock"]:
            for tenant in settings.tenants:
                file = places.state(tenant.id)
                state = read_state(file)
                write_state(file, replace(state, ledger=clock_accepted(state.ledger, time.time()), clock=None))
        case ["put-back", household]:
            print(put_back(places, named(household)))
        case ["remove", household]:
            print(removed(settings, places, named(household)))
        case _:
            print(USAGE, file=sys.stderr)
            return 1
    return 0

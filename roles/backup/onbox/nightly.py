"""A night's work: one backup, the clearing up that the store asks for, and once a month the proof."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from . import keys, prove
from .common import Fault
from .files import sample, sha256
from .repository import Repository, ask, look, the_store
from .settings import Settings
from .system import Waits, last_words, run, write_whole

SCHEMA = 1
WHAT = ("manifest.json", "database.sql", "config", "apps-external", "data")
TAKEN_WITHIN_S = 120


def prepare(settings: Settings) -> Repository:
    """The repository, made where there is none, with the household's key in it. Raises Waits or Fault."""
    repository = made(settings)
    keys.keep_paper_key(settings, repository)
    return repository


def made(settings: Settings) -> Repository:
    """The repository, made where there is none. Raises Waits or Fault."""
    if not keys.secrets_are_made(settings):
        raise Fault("the box's secrets for its backup are not made yet; converge it")
    repository = the_store(settings)
    if not look(settings, repository):
        repository.must("making the repository", settings.paths.box_key, "init")
    return repository


def nightly(settings: Settings) -> None:
    """All of a night's work; what fails does not keep the rest from being done. Raises Fault with the first failure."""
    repository = prepare(settings)
    steps: list[Callable[[], None]] = [
        # First: a backup makes the store's offer worthless.
        lambda: clear_up(settings),
        lambda: backup(settings, repository),
        lambda: prove.when_due(settings, repository),
    ]
    faults = []
    for step in steps:
        try:
            step()
        except Fault as fault:
            faults.append(str(fault))
    if faults:
        raise Fault("; ".join(faults))


def backup(settings: Settings, repository: Repository) -> None:
    """Send what changed since the last backup. Raises Fault, and the last good backup stays what it was.

    Killed at any moment: the next run sends only what the repository does not have (restic writes an index of what has
    arrived every few minutes).
    """
    paths, begun = settings.paths, time.monotonic()
    cloud(settings, "freeze")
    try:
        told = manifest(settings)
        write_whole(paths.frozen / "manifest.json", json.dumps(told, indent=1, sort_keys=True) + "\n")
        # What a killed run has left; restic takes a lock for stale when its process is gone or it is half an hour old.
        repository.must("unlocking the repository", paths.box_key, "unlock")
        limit = ("--limit-upload", str(settings.upload_limit_kib_s)) if settings.upload_limit_kib_s else ()
        said = repository.must(
            "the backup",
            paths.box_key,
            *("backup", *WHAT, "--host", settings.household, "--tag", "hearth", "--time", local(told["taken_at"])),
            # A second name changes a file's ctime, so what counts is size, time and inode.
            *("--ignore-ctime", "--no-scan", "--quiet", "--json", *limit),
            cwd=paths.frozen,
        )
    finally:
        cloud(settings, "thaw")
    summary = parse_summary(said)
    done = {
        "snapshot": summary["snapshot_id"],
        "taken_at": told["taken_at"],
        "files": told["files"],
        "bytes": told["bytes"],
        "sent_bytes": summary.get("data_added_packed", 0),
        "closed_s": told["closed_s"],
        "seconds": round(time.monotonic() - begun, 1),
    }
    write_whole(paths.last_good, json.dumps(done) + "\n", 0o644)
    at = moment(told["taken_at"])
    os.utime(paths.last_good, (at, at))
    print(  # noqa: T201 (the unit's journal)
        f"backup {done['snapshot'][:8]}: {done['files']} files of {done['bytes'] / 1e6:.1f} MB, "
        f"{done['sent_bytes'] / 1e6:.1f} MB sent in {done['seconds']:.0f} s, the cloud closed for {done['closed_s']} s"
    )


def cloud(settings: Settings, verb: str) -> None:
    """Have the cloud's own program do something. Raises Fault."""
    done = run([str(settings.paths.cloud), verb])
    if done.returncode:
        raise Fault(last_words(done.stderr).removeprefix(f"{verb}: "))


def moment(told: str) -> float:
    """A time of the manifest in seconds since 1970."""
    return datetime.fromisoformat(told).timestamp()


def local(told: str) -> str:
    """A time of the manifest as restic takes it: in the box's own time zone."""
    return f"{datetime.fromisoformat(told).astimezone():%Y-%m-%d %H:%M:%S}"


def parse_summary(said: bytes) -> dict[str, Any]:
    """Given what ``restic backup --json`` printed, return its summary. Raises Fault when there is none."""
    for line in said.splitlines():
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if isinstance(data, dict) and data.get("message_type") == "summary" and data.get("snapshot_id"):
            return data
    raise Fault("restic ended well and told of no snapshot; look at `restic version`")


def manifest(settings: Settings) -> dict[str, Any]:
    """What the view holds, for whoever restores it: counts, and the hashes of the dump and of some files."""
    frozen = settings.paths.frozen
    told = dict(json.loads((frozen / "frozen.json").read_text()))
    dump = frozen / "database.sql"
    return {
        "schema": SCHEMA,
        "household": settings.household,
        "domain": settings.domain,
        **told,
        "dump": {"bytes": dump.stat().st_size, "sha256": sha256(dump)},
        "sample": [
            {"path": str(path.relative_to(frozen)), "bytes": path.stat().st_size, "sha256": sha256(path)}
            for path in sample(frozen / "data", time.time())
        ],
    }


def clear_up(settings: Settings) -> None:
    """If the store offers a copy of the repository from which old snapshots are taken out: clear it up, and prove it.

    The store cannot: it has no key. It takes the copy over when nothing else changed (docs/backup.md). Raises Fault.
    """
    if not settings.prune:
        return
    key, offered = settings.paths.box_key, the_store(settings, settings.prune)
    try:
        if not look(settings, offered):
            return
    except Waits:
        return  # nothing is offered: nobody listens there
    offered.must("unlocking the store's copy", key, "unlock")
    offered.must("clearing up the store's copy", key, "prune", "--quiet")
    offered.must("checking the store's copy", key, "check", "--quiet")
    try:
        status = ask(offered, "POST", "checked/?create=true")
    except (OSError, http.client.HTTPException) as fault:
        raise Fault(
            f"the store was not told that its copy is cleared up ({fault}); the next night does it anew"
        ) from None
    if status != http.HTTPStatus.OK:
        raise Fault(f"the store did not take that its copy is cleared up ({status}); look at its journal")
    _until_taken(settings, offered)
    print("the store's copy of the repository is cleared up")  # noqa: T201 (the unit's journal)


def _until_taken(settings: Settings, offered: Repository) -> None:
    """Wait until the store has taken its copy over; a backup that began before would make the copy worthless."""
    until = time.monotonic() + TAKEN_WITHIN_S
    while time.monotonic() < until:
        try:
            if not look(settings, offered):
                return
        except Waits:
            return
        time.sleep(1)

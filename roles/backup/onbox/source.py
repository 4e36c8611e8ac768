"""The old household's backup, as the store shows it to this box: read-only, opened by the household's paper key."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .common import Fault
from .keys import make_secrets_for_elsewhere
from .repository import LOOK_S, NO_REPOSITORY, WRONG_KEY, Repository, ask, look_elsewhere, the_store
from .restoring import Door
from .settings import Settings
from .system import ENVIRONMENT, Waits, last_words

# It cannot be written to, so nothing is locked there; and nobody else writes there.
READ_ONLY = "--no-lock"
TAG = "hearth"
HERE, HTTPS_PORT = "127.0.0.1", 443
Telling = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Source:
    """The backup of household ``name`` in ``repository``, opened with the key in the file ``key``."""

    settings: Settings
    name: str
    repository: Repository
    key: Path

    def restic(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run restic to its end."""
        return self.repository.restic(self.key, READ_ONLY, *words)

    def must(self, *words: str) -> bytes:
        """Run restic and return what it printed. Raises Fault: the store is away, or the backup is damaged."""
        done = self.restic(*words)
        if done.returncode:
            raise Fault(refusal(self.settings, self.name, self.repository) or damaged(done.stderr))
        return done.stdout


@dataclass(frozen=True)
class Snapshot:
    """One backup: restic's id, and when it was taken as restic writes the time."""

    id: str
    time: str


def shown_to(settings: Settings, elsewhere: str) -> Repository:
    """The old household's repository: as the store shows it to this box, or ``elsewhere``.

    Raises Waits when a credential for elsewhere has to be put on this box first.
    """
    if elsewhere:
        asked = at(settings, elsewhere)
        make_secrets_for_elsewhere(asked)
        return the_store(asked)
    return the_store(settings, f"{settings.repository.rstrip('/')}/restore/")


def at(settings: Settings, elsewhere: str) -> Settings:
    """The settings of a box whose repository is ``elsewhere``."""
    return replace(settings, store=False, repository=elsewhere)


def refusal(settings: Settings, name: str, repository: Repository) -> str:
    """Why this box does not get at the backup of ``name``, as a sentence, or the empty string.

    Asked before restic is: restic tries for a quarter of an hour where nobody answers.
    """
    if repository.url.startswith(("s3:", "sftp:")):
        try:
            is_there = look_elsewhere(at(settings, repository.url), repository)
        except Waits as fault:
            return str(fault)
        return "" if is_there else f"{repository.url} holds no backup; is it where {name} sent it?"
    if not repository.url.startswith("rest:"):
        return ""
    try:
        return judged(name, ask(repository))
    except (OSError, http.client.HTTPException):
        return "the store cannot be reached: see whether this box's tunnel is up (systemctl status hearth-tunnel)"


def judged(name: str, status: int) -> str:
    """What a store's HTTP status for the old repository's configuration means, as a sentence; empty: it is there."""
    if status == http.HTTPStatus.OK:
        return ""
    if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        return "the store does not know this box yet: the operator collects it, and converges the store"
    if status == http.HTTPStatus.NOT_FOUND:
        return (
            f"the store shows this box no backup of {name}: either restore.from names a household that never made "
            "one, or the store was not converged since restore.from was written"
        )
    return f"the store answers {status}: the operator looks at its journal"


def parse_snapshots(text: bytes) -> tuple[Snapshot, ...]:
    """Given what ``restic snapshots --json`` prints, return them, newest first."""
    found = [Snapshot(each["id"], each["time"]) for each in json.loads(text)]
    return tuple(sorted(found, key=lambda snapshot: snapshot.time, reverse=True))


def snapshots(source: Source) -> tuple[Snapshot, ...]:
    """The old household's backups, newest first. Raises Fault when the key does not open them."""
    done = source.restic("snapshots", "--json", "--tag", TAG, "--host", source.name)
    if done.returncode == WRONG_KEY:
        raise Fault(
            f"this key is written without a mistake, and it does not open the backup of {source.name}: take the sheet "
            "of that household, and of two sheets the newer one"
        )
    if done.returncode == NO_REPOSITORY:
        raise Fault(judged(source.name, http.HTTPStatus.NOT_FOUND))
    if done.returncode:
        raise Fault(refusal(source.settings, source.name, source.repository) or damaged(done.stderr))
    found = parse_snapshots(done.stdout)
    if not found:
        raise Fault(f"the key opens the repository, and no backup of {source.name} is in it; is restore.from right?")
    return found


def damaged(*outputs: bytes) -> str:
    """The sentence of a repository that cannot be read."""
    return f"the backup is damaged and cannot be read ({last_words(*outputs)}); try an older one, and tell the operator"


def manifest(source: Source, snapshot: Snapshot) -> dict[str, Any]:
    """The manifest in a backup. Raises Fault."""
    text = source.must("dump", snapshot.id, "/manifest.json")
    try:
        return dict(json.loads(text))
    except ValueError:
        raise Fault(f"the backup of {snapshot.time} has a manifest that cannot be read; try another one") from None


def fetch(source: Source, snapshot: Snapshot, target: Path, telling: Telling) -> None:
    """Bring a backup into ``target``, going on with what is there already. Raises Fault.

    restic compares what is there with the backup, fetches what differs alone, and verifies all that it fetches.
    ``telling`` is given restic's messages about how far it is.
    """
    words = (READ_ONLY, "restore", snapshot.id, "--target", str(target), "--delete", "--json")
    command = source.repository.command(source.key, *words)
    faults: list[bytes] = []
    with subprocess.Popen(
        ["setpriv", "--pdeathsig=KILL", "--", *command],
        env={**ENVIRONMENT, **source.repository.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as child:
        for line in child.stdout or ():
            message = as_message(line)
            if message.get("message_type") in ("status", "summary"):
                telling(message)
            else:
                faults.append(line)
    if child.returncode:
        away = refusal(source.settings, source.name, source.repository)
        raise Fault(
            f"{away}; start hearth-restore again then: it goes on where it stopped" if away else damaged(*faults)
        )


def as_message(line: bytes) -> dict[str, Any]:
    """A line of restic's as an object; any other line as an empty one."""
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError):
        return {}


def answers(door: Door) -> bool:
    """Whether another box than this one answers visitors under the household's name.

    A handshake that comes to its end is an answer, whatever certificate it shows: an old box that is on is on.
    """
    shown = certificate_shown(door)
    return shown is not None and shown != certificate_shown(replace(door, address=HERE, port=HTTPS_PORT))


def certificate_shown(door: Door) -> bytes | None:
    """The certificate (DER) with which somebody answers at a door; None where nobody does."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((door.address, door.port), timeout=LOOK_S) as line,
            context.wrap_socket(line, server_hostname=door.domain) as tls,
        ):
            return tls.getpeercert(binary_form=True)
    except OSError:
        return None

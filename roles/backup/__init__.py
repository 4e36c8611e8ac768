"""backup: the household's data to a restic repository each night, the proof, and the key on paper; see docs/backup.md.

All keys are made on the box by the program that this role puts there, and stay there; the store, or another repository,
gets what it can neither read nor, on a store of the fleet's, delete.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import tomli_w
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth import artefacts, layout, schedule
from hearth.inventory.hosts import Box
from hearth.inventory.model import Household
from hearth.programs import package
from hearth.render import OWNED, template
from roles.backup import takeover
from roles.backup.facts import PROGRAM, BackupStatus

__all__ = ["PACKAGES", "backup", "packages", "services"]

# apache2-utils: htpasswd, for the box's login at its store; python3-segno: the QR code on the sheet.
PACKAGES = ("apache2-utils", "openssh-client", "openssl", "python3", "python3-segno", "restic")

ACCOUNT = "hearth-key-page"
SERVICE, TIMER = "hearth-backup.service", "hearth-backup.timer"
PAGE, SOCKET = "hearth-key-page.service", "hearth-key-page.socket"
SETTLE, SETTLE_PATH = "hearth-key-settle.service", "hearth-key-settle.path"
SYSUSERS = "/etc/sysusers.d/hearth-key-page.conf"
DESCRIPTION = "/etc/hearth/backup.toml"
NO_ADMIN = "hearth-admin"
"""The account that an install makes when the inventory names no admin (``roles/owncloud``)."""
_HERE = Path(__file__).parent
_UNITS = "/etc/systemd/system"

ACTIVATE = (
    f"if test -e {_UNITS}/{SOCKET}; then systemctl enable --quiet --no-reload {SOCKET} {SETTLE_PATH} && "
    f"systemctl daemon-reload && systemd-sysusers {SYSUSERS} && "
    # A page that somebody has open speaks of the settings as they were.
    f"systemctl stop {PAGE} && systemctl restart {SOCKET} {SETTLE_PATH}; "
    f"else systemctl stop {SOCKET} {SETTLE_PATH} {PAGE} 2>/dev/null; systemctl daemon-reload; "
    f"rm -f {_UNITS}/sockets.target.wants/{SOCKET} {_UNITS}/paths.target.wants/{SETTLE_PATH}; fi; "
    f"if test -e {_UNITS}/{TIMER}; then systemctl enable --quiet {TIMER} && systemctl restart {TIMER}; "
    # Stopped first: a timer that finds its unit vanished has failed. A backup that is under way comes to its end.
    f"else systemctl stop {TIMER} 2>/dev/null; systemctl daemon-reload; systemctl reset-failed {TIMER} 2>/dev/null; "
    f"rm -f {_UNITS}/timers.target.wants/{TIMER}; fi"
)


def packages(household: Household) -> tuple[str, ...]:
    """The packages that the role needs."""
    return PACKAGES if household.backup.is_made else ()


def services(household: Household) -> tuple[str, ...]:
    """The units that must run."""
    if not household.backup.is_made:
        return ()
    return (SOCKET, SETTLE_PATH, *(() if household.awaits_restore else (TIMER,)))


def description(box: Box) -> str:
    """``/etc/hearth/backup.toml``: what the program on the box reads; it holds no secret."""
    household, backup = box.household, box.household.backup
    values: dict[str, Any] = {
        "household": household.id,
        "domain": household.domain,
        "admins": [user.name for user in household.owncloud.users if user.admin] or [NO_ADMIN],
        "page_port": layout.KEY_PAGE_PORT,
        "upload_limit_kib_s": backup.upload_limit_kib_s,
        "store": backup.repository is None,
    }
    if backup.repository is None:
        at = "rest:https://127.0.0.1"
        values["repository"] = f"{at}:{layout.STORE_TUNNEL_PORT}/{household.id}/"
        values["prune"] = f"{at}:{layout.STORE_PRUNE_TUNNEL_PORT}/{household.id}/"
    else:
        values["repository"] = backup.repository
    return OWNED + tomli_w.dumps(values)


def timer(household: Household) -> str:
    """The nightly timer: in the first half of the household's window and in its time zone, spread by household."""
    at = schedule.spread(household.backup.window, f"{household.id} backup")
    return template(__file__, "backup.timer.j2", calendar=f"*-*-* {at:%H:%M:%S} {household.time_zone}")


def credentials(household: Household) -> tuple[tuple[str, str], ...]:
    """What systemd hands to the page about the key: its name there, and the file."""
    repository = household.backup.repository
    login = "store-password"
    if repository:
        login = "repository-ssh-key" if repository.startswith("sftp:") else "repository.env"
    return (
        ("paper-key", "/etc/hearth/secrets/paper-key"),
        (login, f"/etc/hearth/secrets/{login}"),
        ("page-key", "/etc/hearth/backup/page-key.pem"),
        ("page-certificate", "/etc/hearth/backup/page-certificate.pem"),
    )


def files(box: Box) -> tuple[artefacts.File | artefacts.Link, ...]:
    """The program, its description, the store's certificate, the units."""
    household = box.household
    program = {
        name: artefacts.File(f"{layout.PROGRAMS}/{name}", (_HERE / "files" / name).read_text(), mode="755")
        for name in ("backup", "hearth-key", "key-page")
    }
    page = {"account": ACCOUNT, "socket": SOCKET, "program": program["key-page"].path}
    units = {
        SERVICE: template(__file__, "backup.service.j2", program=PROGRAM),
        SOCKET: template(__file__, "page.socket.j2", port=layout.KEY_PAGE_PORT),
        PAGE: template(__file__, "page.service.j2", credentials=credentials(household), **page),
        SETTLE_PATH: template(__file__, "settle.path.j2", mark=f"/var/lib/{ACCOUNT}/confirmed"),
        SETTLE: template(__file__, "settle.service.j2", program=PROGRAM),
    }
    if not household.awaits_restore:
        units[TIMER] = timer(household)
    certificate = box.store.certificate if box.store else None
    return (
        *program.values(),
        *takeover.files(box, (_HERE / "files/hearth-restore").read_text()),
        artefacts.Link("/usr/local/sbin/hearth-key", program["hearth-key"].path),
        *package("hearth_backup", _HERE / "onbox"),
        artefacts.File(DESCRIPTION, description(box)),
        *([artefacts.File(layout.STORE_PEM, certificate)] if certificate else []),
        artefacts.File(SYSUSERS, template(__file__, "sysusers.conf.j2", account=ACCOUNT)),
        *(artefacts.File(f"{_UNITS}/{name}", text) for name, text in units.items()),
    )


@operation()
def step(verb: str) -> Generator[StringCommand, None, None]:
    """Run one verb of the program on the box when the box says that it is still to be done."""
    found = host.get_fact(BackupStatus, step=verb)
    if found.pending:
        yield StringCommand(PROGRAM, verb)
        return
    host.noop(f"{verb}: nothing to do")
    if found.sentence:
        # On the first day the store knows nothing of the box yet; that is no failure, and the operator wants to know.
        host.log(found.sentence)


@deploy("backup")
def backup(box: Box) -> None:
    """Make the household's backup each night, or take everything for it away but its keys."""
    household = box.household
    made = household.backup.is_made
    where = household.backup.store or household.backup.repository
    artefacts.put(
        name=f"Back up to {where} each night" if made else "Make no backup",
        change="backup",
        artefacts=files(box) if made else (),
        check=f"systemd-analyze verify {_UNITS}/{SERVICE} {_UNITS}/{SOCKET}" if made else "",
        activate=ACTIVATE,
    )
    if made:
        step(name="Make the backup's secrets on the box", verb="secrets")
    if made and not household.awaits_restore:
        step(name="Prepare the backup's repository", verb="repository")

"""backup_store: where households' encrypted backups lie, on a relay or a host of its own. See docs/backup.md.

Debian's restic-rest-server takes them, and lets nobody delete; a second one offers clones for clearing up. Neither
they nor the operator have a key. Whose login is not in the inventory any more has no access; what is there stays until
somebody says ``hearth-store remove``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path
from shlex import quote

import tomli_w
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from typing_extensions import override

from hearth import artefacts, layout
from hearth.inventory.model import Household, Store
from hearth.programs import package
from hearth.render import OWNED, template

PACKAGES = ("restic-rest-server", "openssl", "python3", "curl")

ACCOUNT = "hearth-store"
ROOT = layout.STORE_REPOSITORIES.rpartition("/")[0]
FOLDERS = ("repositories", "offers", "work", "grace", "state")
FOLDER = layout.STORE_CERTIFICATE.rpartition("/")[0]
KEY = f"{FOLDER}/key.pem"
LOGINS = f"{FOLDER}/htpasswd"
SETTINGS = f"{FOLDER}/store.toml"
PROGRAM = f"{layout.PROGRAMS}/hearth-store"
SERVER, OFFERS = "hearth-store.service", "hearth-store-offers.service"
KEEP, TIMER, CHECKED = "hearth-store-keep.service", "hearth-store-keep.timer", "hearth-store-checked.service"
SERVICES = (SERVER, OFFERS, TIMER, CHECKED)

_UNITS = "/etc/systemd/system"
_HERE = Path(__file__).parent
_SYSUSERS, _TMPFILES = "/etc/sysusers.d/hearth-store.conf", "/etc/tmpfiles.d/hearth-store.conf"


def _answers(port: int) -> str:
    ask = f"curl --silent --max-time 5 --cacert {layout.STORE_CERTIFICATE} --output /dev/null"
    return f"test \"$({ask} --write-out '%{{http_code}}' https://127.0.0.1:{port}/)\" = 401"


ANSWERS = f"{_answers(layout.STORE_PORT)} && {_answers(layout.STORE_PRUNE_PORT)}"
"""The shell command that looks whether both servers answer, with the store's certificate, and let nobody in unasked."""

NOTES = "/run/hearth-store/notes"
"""What somebody should know, a line each: quotas that are spent, retention that waits for a word."""

JUDGED = {"folder": ROOT, "answers": ANSWERS, "unit": SERVER, "notes": NOTES}
"""What the health of a store is seen by."""


class Certificate(FactBase[bool]):
    """Whether the store has its key and a certificate that fits it."""

    @override
    @staticmethod
    def default() -> bool:
        return False

    @override
    def command(self) -> str:
        return (
            f'test "$(stat --format "%U %G %a" {KEY} 2>/dev/null)" = "root {ACCOUNT} 640" && '
            f'test "$(openssl pkey -in {KEY} -pubout 2>/dev/null)" = '
            f'"$(openssl x509 -in {layout.STORE_CERTIFICATE} -noout -pubkey 2>/dev/null)" && echo complete; true'
        )

    @override
    def process(self, output: list[str]) -> bool:
        return "complete" in output


@operation()
def make_certificate(whose: str) -> Generator[StringCommand, None, None]:
    """Make the store's key and its certificate, once; boxes pin it, whatever it says of names and dates.

    + whose: the store's name
    """
    if host.get_fact(Certificate):
        return
    certificate = layout.STORE_CERTIFICATE
    yield StringCommand(
        f"set -e; umask 077; install -d -m 755 {FOLDER}; "
        # The key is there last, so a certificate that boxes have pinned is kept as long as its key is.
        f"if openssl x509 -in {certificate} -noout 2>/dev/null && openssl pkey -in {KEY} -noout 2>/dev/null; "
        "then :; else openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 36500 "
        f"-subj {quote(f'/CN={whose}')} "
        f"-addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE "
        f"-addext extendedKeyUsage=serverAuth -keyout {KEY}.new -out {certificate}.new 2>/dev/null; "
        f"chmod 644 {certificate}.new; sync {KEY}.new {certificate}.new; mv {certificate}.new {certificate}; "
        f"mv {KEY}.new {KEY}; fi; chown root:{ACCOUNT} {KEY}; chmod 640 {KEY}"
    )


def admitted(households: Iterable[Household]) -> tuple[Household, ...]:
    """The households that may log in: those whose login was collected, and that nobody has replaced."""
    return tuple(each for each in households if each.store_login and each.replaced_by is None)


def shown(households: Iterable[Household]) -> tuple[tuple[str, str], ...]:
    """For each household that waits for a restore: the repository that it may read, and where it finds it."""
    repositories = layout.STORE_REPOSITORIES
    return tuple(
        (f"{repositories}/{each.restore_from}", f"{repositories}/{each.id}/restore")
        for each in admitted(households)
        if each.awaits_restore
    )


def settings(store: Store, households: Iterable[Household]) -> str:
    """``store.toml``: what the program knows of the inventory."""
    mine = tuple(households)
    # While a repository is read for a restore, nothing of it is forgotten.
    rest = {name for each in mine if each.awaits_restore for name in (each.restore_from, each.id)}
    tenants = [{"id": each.id, "quota_bytes": each.backup.quota_bytes, "rests": each.id in rest} for each in mine]
    return OWNED + tomli_w.dumps({"root": ROOT, "grace_days": store.grace_days, "tenants": tenants})


def options(store: Store, port: int, folder: str) -> tuple[str, ...]:
    """The words behind ``restic-rest-server``."""
    return (
        *("--listen", f"{'127.0.0.1' if store.on_relay else ''}:{port}", "--path", f"{ROOT}/{folder}"),
        *("--private-repos", "--htpasswd-file", LOGINS),
        *("--tls", "--tls-cert", layout.STORE_CERTIFICATE, "--tls-key", KEY),
        *(("--append-only",) if port == layout.STORE_PORT else ()),
    )


def units(store: Store, households: tuple[Household, ...]) -> tuple[artefacts.File, ...]:
    """The two servers' units."""
    servers = (
        (SERVER, "Take in households' backups, for good", layout.STORE_PORT, "repositories", shown(households)),
        (OFFERS, "Offer households' backups for clearing up", layout.STORE_PRUNE_PORT, "offers", ()),
    )
    return tuple(
        artefacts.File(
            f"{_UNITS}/{unit}",
            template(
                __file__,
                "server.service.j2",
                account=ACCOUNT,
                description=description,
                options=options(store, port, folder),
                folder=f"{ROOT}/{folder}",
                shown=pairs,
            ),
        )
        for unit, description, port, folder, pairs in servers
    )


def program() -> tuple[artefacts.File | artefacts.Link, ...]:
    """The program and the units that start it."""

    def unit(verb: str, description: str, *, stays: bool) -> str:
        own = {"account": ACCOUNT, "root": ROOT, "program": PROGRAM, "notes": NOTES}
        return template(__file__, "keep.service.j2", verb=verb, description=description, stays=stays, **own)

    look_after, take_over = "Look after the households' backups: quotas and retention", "Take over what boxes clear up"
    return (
        artefacts.File(PROGRAM, (_HERE / "files/hearth-store").read_text(), mode="755"),
        artefacts.Link("/usr/local/sbin/hearth-store", PROGRAM),
        *package("hearth_store", _HERE / "onhost"),
        artefacts.File(f"{_UNITS}/{KEEP}", unit("keep", look_after, stays=False)),
        artefacts.File(f"{_UNITS}/{TIMER}", template(__file__, "keep.timer.j2")),
        artefacts.File(f"{_UNITS}/{CHECKED}", unit("watch", take_over, stays=True)),
    )


def _activate(names: tuple[str, ...]) -> str:
    """Start units anew; an undone first put, or a store that moved away, has taken their files away, and they go."""
    listed = " ".join(names)
    links = " ".join(f"{_UNITS}/*.target.wants/{name}" for name in names)
    return (
        # Stopped first: a timer that finds its unit vanished has failed.
        f"if ! test -e {_UNITS}/{names[0]}; then systemctl stop {listed} 2>/dev/null; systemctl daemon-reload; "
        f"systemctl reset-failed {listed} 2>/dev/null; rm -f {links}; exit 0; fi; "
        f"systemctl daemon-reload; systemctl enable --quiet {listed} && systemctl restart {listed}"
    )


@deploy("backup store")
def backup_store(store: Store, households: tuple[Household, ...]) -> None:
    """Keep the backups of ``households``: take them in, let nobody delete, watch quotas, forget what is old."""
    artefacts.put(
        name="Make the store's account and folders",
        change="store-account",
        artefacts=(
            artefacts.File(_SYSUSERS, template(__file__, "sysusers.conf.j2", account=ACCOUNT)),
            artefacts.File(
                _TMPFILES,
                template(
                    __file__,
                    "tmpfiles.conf.j2",
                    account=ACCOUNT,
                    root=ROOT,
                    folders=(
                        *FOLDERS,
                        # Where another one's repository is shown has to be there first.
                        *(
                            folder.removeprefix(f"{ROOT}/")
                            for _, place in shown(households)
                            for folder in (place.rpartition("/")[0], place)
                        ),
                    ),
                ),
            ),
        ),
        # Debian's own unit would serve its own folder, to whomever.
        activate=f"systemctl disable --quiet --now restic-rest-server.service; "
        f"test -e {_SYSUSERS} || exit 0; install -d -m 755 /srv/hearth && systemd-sysusers {_SYSUSERS} && "
        f"systemd-tmpfiles --create {_TMPFILES}",
    )
    make_certificate(name="Make the store's certificate", whose=store.name)
    let_in = admitted(households)
    artefacts.put(
        name=f"Let {len(let_in)} household{'' if len(let_in) == 1 else 's'} in",
        change="store-logins",
        artefacts=(
            artefacts.File(LOGINS, template(__file__, "htpasswd.j2", households=let_in), mode="640", group=ACCOUNT),
        ),
        # They read the file anew, and go on with what they do.
        activate=f"for unit in {SERVER} {OFFERS}; do "
        "if systemctl is-active --quiet $unit; then systemctl kill --signal=HUP $unit; fi; done",
    )
    artefacts.put(
        name="Take in backups, and offer what is to be cleared up",
        change="store-servers",
        artefacts=units(store, households),
        check=f"systemd-analyze verify {_UNITS}/{SERVER} {_UNITS}/{OFFERS}",
        activate=_activate((SERVER, OFFERS)),
        verify=f"for try in 1 2 3 4 5 6 7 8 9 10; do {{ {ANSWERS}; }} && exit 0; sleep 0.5; done; "
        "echo 'the store does not answer' >&2; exit 1",
    )
    artefacts.put(
        name=f"Watch quotas and forget what is old ({len(households)})",
        change="store-keep",
        artefacts=(artefacts.File(SETTINGS, settings(store, households)), *program()),
        check=f"systemd-analyze verify {_UNITS}/{TIMER} {_UNITS}/{CHECKED} && "
        f"runuser -u {ACCOUNT} -- {PROGRAM} status >/dev/null",
        activate=_activate((TIMER, CHECKED)),
        verify=f"systemctl start {KEEP}",
    )


def removed() -> None:
    """Serve no backups any more; what is there stays."""
    absent = (
        *(("store-keep", (TIMER, CHECKED)),),
        *(("store-servers", (SERVER, OFFERS)),),
    )
    for change, names in absent:
        artefacts.put(
            name=f"Serve no backups: {change}",
            change=change,
            artefacts=(),
            absent=tuple(f"{_UNITS}/{name}" for name in names),
            activate=_activate(names),
        )

"""``hearth restore --drill``: a household's backup comes back on a throw-away box, which is then destroyed.

The throw-away box is a lab's (``hearth.lab``), converged from an inventory of its own in which it is the only box, has
no relay's key and asks nobody for a certificate: it reaches neither the real relay nor the household's name. The
repository is copied there as it lies at the store, encrypted; only ``hearth-restore`` on the box gets the key.

The drill decrypts the household's files on this machine. They are overwritten and removed at its end, after Ctrl-C too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from shlex import quote
from typing import Any

import yaml
from paramiko.client import SSHClient
from pyinfra.api.exceptions import ConnectError

from hearth import layout
from hearth.fleet import drills
from hearth.fleet.desired import CHECKOUT, DEPLOYS
from hearth.inventory.hosts import Fleet, Host
from hearth.inventory.model import Household
from hearth.lab.lab import Lab
from hearth.lab.process import LabError
from hearth.lab.progress import Step, silently
from hearth.login import first_open

ID = "drill"
BOX = f"box-{ID}"
REPOSITORY = "/srv/drill-repository"
# restic names every file but config by the SHA-256 of what is in it, so whoever has no key sees what was spoilt.
# https://restic.readthedocs.io/en/stable/100_references.html#repository-format
SPOILT = (
    f"cd {REPOSITORY} && find data index keys snapshots -type f -exec sha256sum {{}} + | "
    "awk '{ name = $2; sub(/.*\\//, \"\", name); if (name != $1) print $2 }'"
)
DESCRIPTION = "/etc/hearth/restore.toml"
REPORT = "/var/lib/hearth/restore/report.json"
TRIES = 3
# What hearth-restore says of a key that somebody may type again: mistyped, or of another sheet.
KEY_REFUSED = re.compile(r"groups? |this key is written without a mistake")
LOGIN_S = 20.0
RESTORE_S = 24 * 3600
CHUNK_BYTES = 1 << 20
FLEETS = ("zone", "time_zone", "operators", "releases", "relays")
# What a household's file says of its place in the world: of no use to a box that is nowhere.
ELSEWHERE = ("access", "certificates", "dynamic_dns", "public_port", "restore", "support", "ssh_port")


Ask = Callable[[str], str]


class DrillError(Exception):
    """The drill could not be done; the message says why and what to do."""


@dataclass(frozen=True)
class Drilled:
    """What a drill came to: the restore's own report, the bytes of the repository, and seconds of the drill's steps."""

    report: dict[str, Any]
    repository_bytes: int
    seconds: dict[str, float]


def store_of(fleet: Fleet, household: Household) -> Host:
    """The host that keeps a household's backup. Raises DrillError when none of the fleet's does."""
    name = household.backup.store
    found = next((host for host in (*fleet.relay_hosts(), *fleet.store_hosts()) if host.name == name), None)
    if found is None:
        where = household.backup.repository or "nowhere"
        raise DrillError(f"the backup of {household.id} goes to {where}; a drill copies it from a store of the fleet")
    return found


def inventory_of_one(fleet: Fleet, household: Household, folder: Path, today: date) -> Path:
    """Write the throw-away box's inventory below ``folder`` and return its path."""
    made = folder / "inventory"
    (made / "households").mkdir(parents=True)
    fleet_told = yaml.safe_load((fleet.folder / "fleet.yaml").read_text())
    told = {name: fleet_told[name] for name in FLEETS if name in fleet_told}
    told |= {
        # Which product and limits a household has may stand there; where backups go may not count.
        "defaults": {name: value for name, value in fleet_told.get("defaults", {}).items() if name != "backup"},
        "name": f"{ID}-{os.getpid()}",
        "certificates": {"issuer": "operator"},
        "stores": [{"name": household.relay}],
        "retired": [{"slot": household.slot, "since": today.isoformat(), "id": household.id}],
    }
    box = yaml.safe_load((fleet.folder / f"households/{household.id}.yaml").read_text())
    box = {name: value for name, value in box.items() if name not in ELSEWHERE}
    box |= {
        "id": ID,
        "slot": 1 if household.slot != 1 else 2,
        "relay": household.relay,
        "restore": {"from": household.id},
        "backup": {"store": household.relay},
    }
    (made / "fleet.yaml").write_text(yaml.safe_dump(told, allow_unicode=True, width=1000))
    (made / f"households/{ID}.yaml").write_text(yaml.safe_dump(box, allow_unicode=True, width=1000))
    return made


def drill(fleet: Fleet, household: Household, ask: Ask, step: Step = silently) -> Drilled:
    """Restore a household's backup on a throw-away box and tell how it went. Raises DrillError or LabError.

    ``ask`` gives the paper key as it was typed, or the empty string when nobody types one; it is told why the key
    before was refused (empty at first). The key is passed on by standard input and kept nowhere.
    """
    store, seconds = store_of(fleet, household), dict[str, float]()

    @contextmanager
    def measured(name: str, title: str) -> Iterator[None]:
        begun = time.monotonic()
        with step(title):
            yield
        seconds[name] = round(time.monotonic() - begun, 1)

    lab = Lab(f"{ID}{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix="hearth-drill-") as temporary, opened(store, household.id) as copying:
        inventory = inventory_of_one(fleet, household, Path(temporary), date.today())
        try:
            with measured("start", "Start a throw-away box"):
                lab.up([BOX], inventory)
            with measured("copy", f"Copy the repository from {store.name}, as encrypted as it lies there"):
                size = copy_repository(copying, lab)
                refuse_spoilt(copying, lab)
            with measured("converge", "Converge the throw-away box"):
                converge(inventory)
            told = restored(lab, household, ask, measured)
        finally:
            with step("Destroy the throw-away box"):
                destroy(lab)
    done = Drilled(told, size, seconds)
    drills.write(fleet.name, household.id, asdict(done), datetime.now(UTC))
    return done


def converge(inventory: Path) -> None:
    """Converge the throw-away box by the stock command. Raises DrillError with pyinfra's last words."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pyinfra")), f"{inventory}/", DEPLOYS["box"], "--limit", BOX, "-y"],
        cwd=CHECKOUT,
        env=os.environ | {"PYINFRA_PROGRESS": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = " / ".join(line.strip() for line in done.stdout.splitlines()[-30:] if "rror" in line)
        raise DrillError(f"the throw-away box did not converge: {words or done.stderr[-300:]}")


@dataclass(frozen=True)
class Copying:
    """A login at a store (whose name is ``store``) that finds a household's repository there; see ``opened``."""

    client: SSHClient
    store: str
    household: str
    sudo: str

    def run(self, command: str) -> tuple[Any, Any]:
        """Start a command as root; return its output and its errors."""
        _, out, errors = self.client.exec_command(f"{self.sudo}{command}")
        return out, errors


@contextmanager
def opened(store: Host, household: str) -> Iterator[Copying]:
    """Log in at a store and see that it has the household's repository. Raises DrillError: no box need be started."""
    try:
        client, road = first_open(store.name, store.roads, LOGIN_S)
    except ConnectError as fault:
        raise DrillError(f"{store.name} cannot be reached, where the backup of {household} lies: {fault}") from None
    try:
        copying = Copying(client, store.name, household, "" if road.user == "root" else "sudo -n ")
        out, _ = copying.run(f"test -e {quote(f'{layout.STORE_REPOSITORIES}/{household}/config')}")
        if out.channel.recv_exit_status():
            raise DrillError(
                f"{store.name} has no backup of {household}: see `hearth status --live --limit {household}`"
            )
        yield copying
    finally:
        client.close()


def copy_repository(copying: Copying, lab: Lab) -> int:
    """Copy a household's repository from its store to the throw-away box; return its bytes. Raises DrillError."""
    there = quote(f"{layout.STORE_REPOSITORIES}/{copying.household}")
    out, errors = copying.run(f"tar -C {there} --exclude=./restore --exclude=./locks -c .")
    unpack = ["sh", "-c", f"mkdir -p {REPOSITORY}/locks && exec tar -C {REPOSITORY} --no-same-owner -x"]
    try:
        with subprocess.Popen(lab.exec_command(BOX, unpack), stdin=subprocess.PIPE) as child:
            if child.stdin is None:
                raise DrillError("the throw-away box takes nothing in")
            while chunk := out.read(CHUNK_BYTES):
                child.stdin.write(chunk)
            child.stdin.close()
    except BrokenPipeError:
        raise DrillError("the throw-away box has no room for the repository") from None
    if out.channel.recv_exit_status() or child.returncode:
        words = errors.read().decode(errors="replace").strip()[-300:]
        raise DrillError(f"the backup of {copying.household} could not be copied from {copying.store}: {words}")
    return int(lab.exec(BOX, ["du", "-sb", REPOSITORY]).stdout.split()[0])


def refuse_spoilt(copying: Copying, lab: Lab) -> None:
    """Raise DrillError when the copy has a file that is not what it was when restic wrote it; needs no key."""
    spoilt = lab.exec(BOX, ["sh", "-c", SPOILT], timeout_s=RESTORE_S).stdout.split()
    if spoilt:
        more = f" and {len(spoilt) - 1} more" if len(spoilt) > 1 else ""
        raise DrillError(
            f"the backup of {copying.household} is damaged at {copying.store}: {spoilt[0]}{more} is not what its box "
            "sent; look at that host's disk, and have the box make a new backup"
        )


def restored(lab: Lab, household: Household, ask: Ask, measured: Callable[[str, str], Any]) -> dict[str, Any]:
    """Have the box restore itself and return its report. Raises DrillError with its sentence."""
    lab.exec(BOX, ["sed", "-i", f's|^repository = .*|repository = "{REPOSITORY}"|', DESCRIPTION])
    words = ""
    for _ in range(TRIES):
        key = ask(words)
        if not key:
            break
        with measured("restore", f"Restore the backup of {household.id}"):
            done = lab.exec(
                BOX, ["hearth-restore", "--drill", "--yes"], stdin=f"{key}\n", check=False, timeout_s=RESTORE_S
            )
        if done.returncode == 0:
            return dict(json.loads(lab.exec(BOX, ["cat", REPORT]).stdout))
        words = done.stderr.strip().removeprefix("hearth-restore: ")
        if not KEY_REFUSED.match(words):
            break
    raise DrillError(words or f"nobody typed the key on the sheet of {household.id}")


def destroy(lab: Lab) -> None:
    """Take the throw-away box down; overwrite what it wrote before it is removed."""
    files = lab.folder / "hosts"
    try:
        if any(host.state == "running" for host in lab.status()):
            lab.kill(BOX)
    except LabError:
        pass  # it never came up
    if files.is_dir():
        command = ["find", str(files), "-xdev", "-type", "f", "-exec", "shred", "--iterations=1", "--force", "{}", "+"]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    lab.down()
    shutil.rmtree(files, ignore_errors=True)

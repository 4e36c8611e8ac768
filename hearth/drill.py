"""``hearth restore --drill``: a household's backup comes back on a throw-away box, which is then destroyed.

The throw-away box is a lab's (``hearth.lab``), converged from an inventory of its own in which it is the only box, has
no relay's key and asks nobody for a certificate: it reaches neither the real relay nor the household's name. The
repository is copied there as it lies at the store, encrypted; only ``hearth-restore`` on the box gets the key.

The drill decrypts the household's files on this machine. They are overwritten and removed at its end, after Ctrl-C too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from hearth import layout
from hearth.fleet.desired import CHECKOUT, DEPLOYS
from hearth.inventory.hosts import Fleet, Host
from hearth.inventory.model import Household
from hearth.lab.lab import Lab
from hearth.lab.process import LabError
from hearth.lab.progress import Step, silently
from hearth.login import first_open

ID = "drill"
BOX = f"box-{ID}"
REPOSITORY = "/srv/hearth/drill-repository"
DESCRIPTION = "/etc/hearth/restore.toml"
REPORT = "/var/lib/hearth/restore/report.json"
TRIES = 3
LOGIN_S = 20.0
RESTORE_S = 24 * 3600
CHUNK_BYTES = 1 << 20
# What a household's file says of its place in the world: of no use to a box that is nowhere.
ELSEWHERE = ("access", "certificates", "dynamic_dns", "public_port", "restore", "support", "ssh_port")


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
    told = yaml.safe_load((fleet.folder / "fleet.yaml").read_text())
    told = {name: told[name] for name in ("zone", "time_zone", "operators", "releases", "relays") if name in told}
    told |= {
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


def drill(fleet: Fleet, household: Household, ask: Callable[[], str], step: Step = silently) -> Drilled:
    """Restore a household's backup on a throw-away box and tell how it went. Raises DrillError or LabError.

    ``ask`` gives the paper key as it was typed; it is passed on by standard input and kept nowhere.
    """
    store, seconds = store_of(fleet, household), dict[str, float]()

    @contextmanager
    def measured(name: str, title: str) -> Iterator[None]:
        begun = time.monotonic()
        with step(title):
            yield
        seconds[name] = round(time.monotonic() - begun, 1)

    lab = Lab(f"{ID}{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix="hearth-drill-") as temporary:
        inventory = inventory_of_one(fleet, household, Path(temporary), date.today())
        try:
            with measured("box", "Start and converge a throw-away box"):
                lab.up([BOX], inventory)
                converge(inventory)
            with measured("copy", f"Copy the repository from {store.name}, as encrypted as it lies there"):
                size = copy_repository(store, household.id, lab)
            told = restored(lab, household, ask, measured)
        finally:
            with step("Destroy the throw-away box"):
                destroy(lab)
    return Drilled(told, size, seconds)


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


def copy_repository(store: Host, household: str, lab: Lab) -> int:
    """Copy a household's repository from its store to the throw-away box; return its bytes. Raises DrillError."""
    client, road = first_open(store.name, store.roads, LOGIN_S)
    pack = f"tar -C {quote(f'{layout.STORE_REPOSITORIES}/{household}')} --exclude=./restore --exclude=./locks -c ."
    unpack = ["sh", "-c", f"mkdir -p {REPOSITORY}/locks && exec tar -C {REPOSITORY} --no-same-owner -x"]
    try:
        _, out, errors = client.exec_command(pack if road.user == "root" else f"sudo -n {pack}")
        with subprocess.Popen(lab.exec_command(BOX, unpack), stdin=subprocess.PIPE) as child:
            if child.stdin is None:
                raise DrillError("the throw-away box takes nothing in")
            while chunk := out.read(CHUNK_BYTES):
                child.stdin.write(chunk)
            child.stdin.close()
        if out.channel.recv_exit_status() or child.returncode:
            words = errors.read().decode(errors="replace").strip()[-300:]
            raise DrillError(f"the backup of {household} could not be copied from {store.name}: {words}")
    except BrokenPipeError:
        raise DrillError("the throw-away box has no room for the repository") from None
    finally:
        client.close()
    return int(lab.exec(BOX, ["du", "-sb", REPOSITORY]).stdout.split()[0])


def restored(
    lab: Lab, household: Household, ask: Callable[[], str], measured: Callable[[str, str], Any]
) -> dict[str, Any]:
    """Have the box restore itself and return its report. Raises DrillError with its sentence."""
    lab.exec(BOX, ["sed", "-i", f's|^repository = .*|repository = "{REPOSITORY}"|', DESCRIPTION])
    for attempt in range(1, TRIES + 1):
        key = ask()
        with measured("restore", f"Restore the backup of {household.id}"):
            done = lab.exec(
                BOX, ["hearth-restore", "--drill", "--yes"], stdin=f"{key}\n", check=False, timeout_s=RESTORE_S
            )
        if done.returncode == 0:
            return dict(json.loads(lab.exec(BOX, ["cat", REPORT]).stdout))
        words = done.stderr.strip().removeprefix("hearth-restore: ")
        if not words.startswith("group") or attempt == TRIES:
            break
        print(words, file=sys.stderr)  # noqa: T201 (the household may type it again)
    raise DrillError(words)


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

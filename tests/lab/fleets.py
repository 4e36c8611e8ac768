"""A fleet in the lab and the operator who converges it with ``hearth``: four homes, a relay and a support Pi.

One box is converged from a bare Debian; the other three begin as clones of it, so four converged boxes cost little more
than one. After the first day the bench links of the homes are out: the operator's only way is through the relay, as in
life. The inventory lies in a git repository.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from hearth.fleet.records import Record, paths, read
from hearth.hostlock import LOCK
from hearth.lab.lab import Lab
from hearth.lab.real_release import with_real_release
from tests.lab.boxes import MUELLER, PI, RELAY, REPOSITORY, Operator, wait_for

HEARTH = Path(sys.executable).with_name("hearth")
RECORD = Draft202012Validator(json.loads((REPOSITORY / "schemas/record.schema.json").read_text()))
SCHMIDT, WEBER, KOCH = "box-schmidt", "box-weber", "box-koch"
BOXES = {MUELLER: "127.10.0.17", SCHMIDT: "127.10.0.18", WEBER: "127.10.0.19", KOCH: "127.10.0.20"}
"""Each box and its address at the relay."""
IGNORED = "/inventory/local.yaml\n/inventory/authority/acme-root.pem\n"
STAMP = "/run/stamp"
# A oneshot service may just run, as the health check of the last converge does.
SERVICES = r"""(systemctl show --property=Id,MainPID,Type '*.service'; echo) | awk -F = '
{ told[$1] = $2 }
/^$/ { if (told["MainPID"] && told["Type"] != "oneshot") print told["Id"], told["MainPID"] }' | sort"""
# Left out is what logs, databases, timers and the cloud's own jobs write whoever looks.
OWN = "/run /tmp /var/tmp /var/log /var/lib/mysql /var/lib/redis /var/lib/systemd /srv/hearth/data"
CHANGED = f"""
find / -xdev {" ".join(f"-path {path} -prune -o" for path in ("/proc /sys /dev " + OWN).split())} -cnewer {STAMP} -print
{SERVICES} | diff {STAMP} -
true
"""


@dataclass(frozen=True)
class Fleet:
    """The operator of a fleet in the lab. ``state``: where his records are."""

    operator: Operator
    state: Path

    @property
    def lab(self) -> Lab:
        """The lab."""
        return self.operator.lab

    @property
    def inventory(self) -> Path:
        """The fleet's inventory."""
        return self.operator.inventory

    def environment(self) -> dict[str, str]:
        """An environment with the operator's state folder."""
        return os.environ | {"COLUMNS": "200", "XDG_STATE_HOME": str(self.state)}

    def records(self) -> list[Path]:
        """The records, the latest first."""
        return paths(self.state / "hearth/example/runs")

    def slices(self) -> list[int]:
        """The processes that converge hosts for this operator."""
        mark = f"{self.state}/hearth/example/slices/".encode()
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if mark in _bytes(path)]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``hearth``; nobody is at its terminal."""
        return self.start_as_typed(*arguments, "--inventory", str(self.inventory))

    def start_as_typed(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``hearth`` with these arguments alone."""
        return subprocess.Popen(
            [str(HEARTH), *arguments],
            cwd=REPOSITORY,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hearth(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``hearth`` to its end."""
        return ended(self.start(*arguments))

    def converge(self, *arguments: str, status: int = 0) -> Record:
        """Run ``hearth converge`` with that exit status, and return its record."""
        run = self.hearth("converge", "--yes", "--attempts", "1", *arguments)
        assert run.returncode == status, f"{run.stdout}\n{run.stderr}\n{self.logs()}"
        return self.record()

    def record(self) -> Record:
        """The latest record; it is whole, and every line of it fits the schema."""
        path = self.records()[0]
        for line in path.read_text().splitlines():
            assert RECORD.is_valid(json.loads(line)), line
        record = read(path)
        assert not record.cut
        return record

    def logs(self) -> str:
        """The ends of what pyinfra printed for hosts that failed."""
        return "\n".join(path.read_text()[-3000:] for path in self.state.glob("hearth/example/slices/*/*.log"))

    def tunnel_is_up(self, box: str) -> bool:
        """Whether the relay listens for a box."""
        return BOXES[box] in self.lab.exec(RELAY, ["ss", "-Hltn", "sport = :10022"]).stdout

    def lets_in(self, server: str, key: str) -> bool:
        """Whether a tunnel server knows a public key."""
        command = ["grep", "--recursive", "--quiet", "--fixed-strings", key.split()[1], "/etc/ssh/tunnel-keys"]
        return self.lab.exec(server, command, check=False).returncode == 0

    def wait_for_tunnel(self, box: str) -> None:
        """Wait until the relay listens for a box."""
        wait_for(lambda: self.tunnel_is_up(box), 90, f"the tunnel of {box}")

    def collect(self, *hosts: str) -> None:
        """Run ``hearth collect``."""
        run = self.hearth("collect", *hosts)
        assert run.returncode == 0, run.stderr

    def plan(self, *arguments: str) -> dict[str, Any]:
        """What ``hearth plan`` finds, when it can ask all hosts."""
        run = self.hearth("plan", "--format", "json", *arguments)
        assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
        return dict(json.loads(run.stdout))

    def logins(self, *hosts: str) -> dict[str, int]:
        """How often somebody has logged in to each of these hosts."""
        count = "journalctl -u ssh -o cat | grep -c Accepted; true"
        return {host: int(self.lab.exec(host, ["sh", "-c", count]).stdout) for host in hosts}

    def stamp(self, *hosts: str) -> None:
        """From now on these hosts can tell what changes on them: see ``changed``."""
        for host in hosts:
            self.lab.exec(host, ["sh", "-c", f"{SERVICES} >{STAMP}"])

    def changed(self, *hosts: str) -> dict[str, list[str]]:
        """What has changed on hosts since the stamp: files, but for what services write, and services started anew."""
        found = {host: self.lab.exec(host, ["sh", "-c", CHANGED]).stdout.splitlines() for host in hosts}
        return {host: told for host, told in found.items() if told}

    def journal(self, host: str) -> str:
        """Where a host's journal is now."""
        told = self.lab.exec(host, ["journalctl", "--lines=0", "--show-cursor"]).stdout
        return told.partition("-- cursor: ")[2].strip()

    def commands(self, host: str, cursor: str) -> list[tuple[bool, str]]:
        """The operator's commands as root since a place of the journal: whether one begins or ends, and its process.

        Without the one that keeps the host's lock, which runs beside the others.
        """
        command = ["journalctl", f"--after-cursor={cursor}", "--identifier=sudo", "--output=json"]
        lines = [json.loads(line) for line in self.lab.exec(host, command).stdout.splitlines()]
        told = [(line["MESSAGE"], line["_PID"]) for line in lines if isinstance(line["MESSAGE"], str)]
        keepers = {process for message, process in told if "--no-fork" in message and LOCK in message}
        return [
            ("session opened" in message, process)
            for message, process in told
            if "pam_unix(sudo:session)" in message and process not in keepers
        ]

    def rewrite(self, name: str, change: Callable[[dict[str, Any]], None]) -> str:
        """Change the data of one of the inventory's files; returns the text as it was."""
        file = self.inventory / name
        text = file.read_text()
        data = yaml.safe_load(text)
        change(data)
        file.write_text(yaml.safe_dump(data, allow_unicode=True, width=1000))
        return text

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace words of one of the inventory's files."""
        file = self.inventory / name
        text = file.read_text()
        assert text.count(old) == 1, text
        file.write_text(text.replace(old, new))

    def git(self, *arguments: str) -> str:
        """git in the repository that the inventory lies in."""
        who = ["-c", "user.name=anna", "-c", "user.email=anna@home.example", "-c", "commit.gpgSign=false"]
        command = ["git", *who, "-C", str(self.inventory), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self) -> str:
        """Commit the inventory as it is; returns the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "Change")
        return self.git("rev-parse", "HEAD")


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """A process that has come to its end, with what it printed."""
    stdout, stderr = process.communicate(timeout=900)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def busiest(commands: list[tuple[bool, str]]) -> int:
    """How many commands ran at a time at most. A converge runs one after the other, two beside each other would not."""
    running: set[str] = set()
    most = 0
    for begins, process in commands:
        running = running | {process} if begins else running - {process}
        most = max(most, len(running))
    return most


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def states(record: Record) -> dict[str, str]:
    """What became of each host, as the record's end has it."""
    assert record.end is not None
    return dict(record.end.states)


def would_change(plan: dict[str, Any]) -> set[str]:
    """The hosts on which a converge would change something, by a plan."""
    return {each["host"] for each in plan["hosts"] if each["outcome"] == "changes"}


def changes(record: Record) -> dict[str, list[str]]:
    """The operations that changed something on each host that was gone to."""
    return {host: [each.name for each in end.operations] for host, end in record.hosts.items()}


def four_homes(example: Path, folder: Path) -> Path:
    """The example's inventory with two households more, in the repository ``folder``."""
    folder.mkdir()
    inventory = with_real_release(example, folder / "inventory", os.environ)
    if inventory == example:
        inventory = Path(shutil.copytree(example, folder / "inventory"))
    schmidt = (inventory / "households/schmidt.yaml").read_text().partition("support:")[0]
    for number, box in enumerate((WEBER, KOCH), start=19):
        name = box.removeprefix("box-")
        own = schmidt.replace("schmidt", name).replace("slot: 18", f"slot: {number}")
        (inventory / f"households/{name}.yaml").write_text(own)
    fleet = inventory / "fleet.yaml"
    fleet.write_text(fleet.read_text() + "canary: mueller\n")
    mueller = inventory / "households/mueller.yaml"
    mueller.write_text(mueller.read_text().replace("issuer: acme", "issuer: operator"))
    return inventory


def first_day(lab: Lab, inventory: Path, state: Path) -> Fleet:
    """Live the fleet's first day: bare hosts become relay, Pi and four boxes that only the relay leads to."""
    fleet = Fleet(Operator(lab, inventory), state)
    boxes = list(BOXES)
    lab.up([RELAY, PI, *boxes], inventory)
    with ThreadPoolExecutor(1) as beside:
        box = beside.submit(fleet.operator.converge)
        fleet.converge("--limit", "relays,pis")
        assert box.result().status == 0, box.result().output[-4000:]
    lab.snapshot(MUELLER, "converged")
    for name in boxes:
        lab.start_from(name, "converged")
    # A clone is not let in with the keys of its original.
    for name in boxes[1:]:
        lab.exec(name, ["sh", "-c", "systemctl stop hearth-tunnel; rm -rf /etc/hearth/tunnel"])
    fleet.collect(RELAY, PI)
    fleet.converge("--limit", "boxes", "--waves", "100%")
    fleet.collect()
    fleet.converge("--limit", RELAY)
    for name in boxes:
        fleet.wait_for_tunnel(name)
        lab.bench(name, False)
    # The store lets the boxes in only now, so this makes their backups' repositories.
    fleet.converge("--limit", "boxes", "--waves", "100%")
    (inventory.parent / ".gitignore").write_text(IGNORED)
    fleet.git("init", "--quiet", "--initial-branch", "main", str(inventory.parent))
    fleet.commit()
    return fleet


def leave_out(inventory: Path, household: str) -> None:
    """Take a household out of an inventory, with what this machine and the fleet know of its box."""
    box = f"box-{household}"
    for path in (f"households/{household}.yaml", f"collected/{box}.yaml"):
        (inventory / path).unlink(missing_ok=True)
    local = inventory / "local.yaml"
    known = yaml.safe_load(local.read_text())
    known["hosts"].pop(box, None)
    local.write_text(yaml.safe_dump(known))

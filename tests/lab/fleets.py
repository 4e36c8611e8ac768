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
from dataclasses import dataclass
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from hearth.fleet.records import Record, paths, read
from hearth.lab.lab import Lab
from hearth.lab.real_release import with_real_release
from tests.lab.boxes import MUELLER, PI, RELAY, REPOSITORY, Operator, wait_for

HEARTH = Path(sys.executable).with_name("hearth")
RECORD = Draft202012Validator(json.loads((REPOSITORY / "schemas/record.schema.json").read_text()))
SCHMIDT, WEBER, KOCH = "box-schmidt", "box-weber", "box-koch"
BOXES = {MUELLER: "127.10.0.17", SCHMIDT: "127.10.0.18", WEBER: "127.10.0.19", KOCH: "127.10.0.20"}
"""Each box and its address at the relay."""
IGNORED = "/inventory/local.yaml\n/inventory/authority/acme-root.pem\n"


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

    def command(self, *arguments: str) -> list[str]:
        """The command line of ``hearth``."""
        return [str(HEARTH), *arguments, "--inventory", str(self.inventory)]

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
        return self.start_as_typed(*self.command(*arguments))

    def start_as_typed(self, *command: str) -> subprocess.Popen[str]:
        """Start a command where the operator works."""
        return subprocess.Popen(
            command,
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

    def logins(self, *hosts: str) -> dict[str, int]:
        """How often somebody has logged in to each of these hosts."""
        count = "journalctl -u ssh -o cat | grep -c Accepted; true"
        return {host: int(self.lab.exec(host, ["sh", "-c", count]).stdout) for host in hosts}

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace words of one of the inventory's files."""
        file = self.inventory / name
        text = file.read_text()
        assert text.count(old) == 1, text
        file.write_text(text.replace(old, new))

    def git(self, *arguments: str) -> str:
        """git in the repository that the inventory lies in."""
        who = ["-c", "user.name=anna", "-c", "user.email=anna@home.example", "-c", "commit.gpgSign=false"]
        command = ["git", *who, "-C", str(self.inventory.parent), *arguments]
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


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def states(record: Record) -> dict[str, str]:
    """What became of each host, as the record's end has it."""
    assert record.end is not None
    return dict(record.end.states)


def changes(record: Record) -> dict[str, int]:
    """How many operations changed something on each host that was gone to."""
    return {host: len(end.operations) for host, end in record.hosts.items()}


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
    mueller = inventory / "households/mueller.yaml"
    mueller.write_text(mueller.read_text().replace("issuer: acme", "issuer: operator"))
    return inventory


def first_day(lab: Lab, inventory: Path, state: Path) -> Fleet:
    """Live the fleet's first day: bare hosts become relay, Pi and four boxes that only the relay leads to."""
    fleet = Fleet(Operator(lab, inventory), state)
    boxes = list(BOXES)
    lab.up([RELAY, PI, *boxes], inventory)
    fleet.converge("--limit", f"{RELAY},{PI},{MUELLER}")
    lab.snapshot(MUELLER, "converged")
    for box in boxes:
        lab.start_from(box, "converged")
    for box in boxes[1:]:
        # A clone is not let in with the keys of its original.
        lab.exec(box, ["sh", "-c", "systemctl stop hearth-tunnel; rm -rf /etc/hearth/tunnel"])
    fleet.converge("--waves", "100%")
    collected = fleet.hearth("collect")
    assert collected.returncode == 0, collected.stderr
    fleet.converge("--limit", RELAY)
    for box in boxes:
        wait_for(lambda box=box: fleet.tunnel_is_up(box), 60, f"the tunnel of {box}")  # type: ignore[misc]
        lab.bench(box, False)
    (inventory.parent / ".gitignore").write_text(IGNORED)
    fleet.git("init", "--quiet", "--initial-branch", "main")
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

"""The ``hearth converge`` command with a stand-in for ``pyinfra``: hosts do what files say, in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from hearth.fleet.records import Record, paths, read, runs_folder
from tests.unit.inventory.corpus import make_fleet

REPOSITORY = Path(__file__).parents[3]
HEARTH = "import sys; from hearth.cli import main; sys.argv[0] = 'hearth'; main()"
SCHEMA = Draft202012Validator(json.loads((REPOSITORY / "schemas/record.schema.json").read_text()))


@dataclass(frozen=True)
class Operator:
    """An operator with a fleet of six households behind one relay. ``folder``: of the stand-in's files."""

    inventory: Path
    folder: Path

    def does(self, host: str, *words: str) -> None:
        """From now on the host does this: see stand_in.py."""
        (self.folder / host).write_text(" ".join(words))

    def let_go(self, host: str) -> None:
        """Let a host that waits go on."""
        (self.folder / f"{host}.go").touch()

    def start(self, *arguments: str, command: str = "converge", **environment: str) -> subprocess.Popen[str]:
        """Start ``hearth converge``, or another command."""
        return subprocess.Popen(
            [sys.executable, "-c", HEARTH, command, "--inventory", str(self.inventory), *arguments],
            cwd=self.inventory.parent,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
                "STAND_IN": str(self.folder),
                "HEARTH_PYINFRA": str(self.folder / "pyinfra"),
                "COLUMNS": "200",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def converge(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``hearth converge --yes --attempts 1 --no-gate`` to its end."""
        process = self.start("--yes", "--attempts", "1", "--no-gate", *arguments)
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def plan(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``hearth plan`` to its end."""
        process = self.start(*arguments, command="plan")
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def log(self) -> list[tuple[str, str]]:
        """What the hosts noted: (begin or end, host), in order."""
        path = self.folder / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(word, host) for word, host, _ in (line.split() for line in lines)]

    def visits(self) -> Counter[str]:
        """How often each host was begun."""
        return Counter(host for word, host in self.log() if word == "begin")

    def record(self) -> Record:
        """The latest record; every line of it fits the schema."""
        path = paths(runs_folder("example"))[0]
        for line in path.read_text().splitlines():
            SCHEMA.validate(json.loads(line))
        return read(path)

    def edit(self, change: Callable[[Path], None]) -> None:
        """Change the inventory."""
        change(self.inventory)


def an_operator(folder: Path, households: int = 6) -> Operator:
    """Make the fleet, and the stand-in for pyinfra."""
    inventory = make_fleet(folder / "inventory")
    for name in ("local.yaml", "households/schmidt.yaml"):
        (inventory / name).unlink()
    fleet = inventory / "fleet.yaml"
    text = fleet.read_text()
    start, end = text.index("pis:"), text.index("certificates:")
    fleet.write_text(text[:start] + text[end:])
    template = (inventory / "households/mueller.yaml").read_text().partition("support:")[0]
    (inventory / "households/mueller.yaml").unlink()
    for number in range(households):
        own = template.replace("mueller", f"h{number}").replace("slot: 17", f"slot: {number + 1}")
        (inventory / f"households/h{number}.yaml").write_text(own)
    stand_in = folder / "stand-in"
    stand_in.mkdir()
    write_stand_in(stand_in / "pyinfra")
    return Operator(inventory, stand_in)


def write_stand_in(program: Path) -> None:
    """Write a program that ``$HEARTH_PYINFRA`` may name: stand_in.py, started without looking for packages."""
    script = Path(__file__).with_name("stand_in.py")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {script} "$@"\n')
    program.chmod(0o755)


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 60) -> None:
    """Wait until ``condition`` holds; fail naming ``what`` when it does not in time."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"waited {timeout_s} s in vain for: {what}"
        time.sleep(0.05)


def never_twice_at_a_time(log: list[tuple[str, str]], killed: frozenset[str] = frozenset()) -> None:
    """No host is begun while it is in work. ``killed``: hosts whose first work was killed, so it has no end."""
    working: set[str] = set()
    for word, host in log:
        if word == "begin":
            assert host not in working or host in killed, f"{host} was in work twice at a time"
            killed = killed - {host} if host in working else killed
            working.add(host)
        else:
            working.discard(host)

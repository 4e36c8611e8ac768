"""Boxes for the tests: converged once by the literal command, then cloned in seconds for tests that break things."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.lab.lab import Lab

REPOSITORY = Path(__file__).parents[2]
PYINFRA = Path(sys.executable).with_name("pyinfra")
MUELLER = "box-mueller"
RELAY = "relay1"
PI = "pi1"
VISITOR = "visitor"
DOMAIN = "mueller.home.example"


@dataclass(frozen=True)
class Converge:
    """One run of pyinfra: its exit status, all it printed, and for each operation the column that counted it."""

    status: int
    output: str
    results: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> list[str]:
        """The operations that changed something."""
        return [name for name, result in self.results.items() if result != "no change"]


def parse_results(output: str) -> dict[str, str]:
    """Given pyinfra's output, return operation -> success, error or no change, from its table of results."""
    table = output.partition("--> Results:")[2]
    found: dict[str, str] = {}
    for line in table.splitlines():
        row = re.match(r"\s{4}(\S.*?)\s{2,}(\d+)\s+(\S+)\s+(\S+)\s+(\S+)\s*$", line)
        if row and row[1] not in ("Operation", "Grand total"):
            columns = dict(zip(("success", "error", "no change"), row.groups()[2:], strict=True))
            found[row[1]] = next(name for name, count in columns.items() if count != "-")
    return found


@dataclass(frozen=True)
class Operator:
    """The operator's side: an inventory, the commands that he types, and the box that they are for."""

    lab: Lab
    inventory: Path
    host: str = MUELLER
    domain: str = DOMAIN

    def command(self, *arguments: str, deploy: str = "deploys/box.py") -> list[str]:
        """The command line that converges."""
        return [str(PYINFRA), f"{self.inventory}/", deploy, *arguments]

    def environment(self) -> dict[str, str]:
        """A terminal-less environment; pyinfra's spinner has failed in pipelines."""
        return os.environ | {"PYINFRA_PROGRESS": "off", "COLUMNS": "200"}

    def converge(self, *arguments: str, limit: str | None = None, deploy: str = "deploys/box.py") -> Converge:
        """Run ``pyinfra inventory/ deploys/box.py --limit LIMIT -y`` to its end."""
        done = subprocess.run(
            self.command("--limit", limit or self.host, "-y", *arguments, deploy=deploy),
            cwd=REPOSITORY,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        return Converge(done.returncode, done.stdout, parse_results(done.stdout))

    def converge_until(self, words: str, then: Callable[[], None]) -> bool:
        """Converge until a line holds ``words``, call ``then`` and kill pyinfra; whether the line came."""
        process = subprocess.Popen(
            self.command("--limit", self.host, "-y"),
            cwd=REPOSITORY,
            env=self.environment() | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if words in line:
                    then()
                    return True
            return False
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()

    def with_fleet(self, folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Operator:
        """A copy of the inventory in ``folder`` in which ``change`` has edited the fleet's and the household's data."""
        shutil.copytree(self.inventory, folder)
        fleet_file, household_file = folder / "fleet.yaml", folder / f"households/{self.host.removeprefix('box-')}.yaml"
        fleet = yaml.safe_load(fleet_file.read_text())
        household = yaml.safe_load(household_file.read_text())
        change(fleet, household)
        fleet_file.write_text(yaml.safe_dump(fleet, allow_unicode=True, width=1000))
        household_file.write_text(yaml.safe_dump(household, allow_unicode=True, width=1000))
        return replace(self, inventory=folder)

    def passwords(self) -> dict[str, str]:
        """The household's passwords, read where the household reads them: on the box, as root."""
        text = self.lab.exec(self.host, ["cat", "/root/household-passwords.txt"]).stdout
        return dict(line.split(": ", 1) for line in text.splitlines() if line and not line.startswith("#"))

    def curl(self, path: str, *arguments: str, user: str | None = None, port: int = 443) -> Answer:
        """Ask the household's name over HTTPS, trusting the fleet's authority alone; the password goes by stdin."""
        secret = f'user = "{user}:{self.passwords()[user]}"\n' if user else ""
        done = subprocess.run(
            [
                "curl",
                "--config",
                "-",
                "--silent",
                "--show-error",
                "--max-time",
                "900",
                "--cacert",
                str(self.inventory / "authority/tls-ca.pem"),
                "--resolve",
                f"{self.domain}:{port}:{self.lab.address(self.host)}",
                "--write-out",
                "\n%{http_code} %{redirect_url}",
                *arguments,
                f"https://{self.domain}{'' if port == 443 else f':{port}'}{path}",
            ],
            input=secret,
            capture_output=True,
            text=True,
            check=False,
        )
        body, _, last = done.stdout.rpartition("\n")
        code, _, location = last.partition(" ")
        return Answer(int(code or 0), body, location, done.stderr)


@dataclass(frozen=True)
class Answer:
    """What curl got; ``status`` 0 when no HTTP answer came, ``error`` is its message."""

    status: int
    body: str
    location: str
    error: str


def wait_for(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait until ``condition`` holds; fail naming ``what`` when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain for: {what}"
        time.sleep(0.5)


@pytest.fixture(scope="session")
def first_run(lab: Lab, lab_inventory: Path, start: Callable[..., None]) -> Converge:
    """The first converge of mueller's box, at -vvv; leaves the snapshots ``packages`` and ``converged``.

    The first attempt is killed as soon as the packages are there, so that tests of what comes after can begin there.
    The box is off afterwards: whoever asks for this starts it from a snapshot.
    """
    start(MUELLER)
    operator = Operator(lab, lab_inventory)
    assert operator.converge_until("Prepare the host", lambda: None), "the packages did not install"
    lab.snapshot(MUELLER, "packages")
    lab.start(MUELLER)
    run = operator.converge("-vvv")
    assert run.status == 0, run.output[-4000:]
    lab.snapshot(MUELLER, "converged")
    return run


@pytest.fixture(scope="module")
def box(lab: Lab, lab_inventory: Path, first_run: Converge) -> Operator:
    """The operator of a converged box that no other test file has touched."""
    lab.start_from(MUELLER, "converged")
    return Operator(lab, lab_inventory)


@pytest.fixture
def fresh_box(lab: Lab, lab_inventory: Path, first_run: Converge) -> Operator:
    """The operator of a converged box that no other test has touched."""
    lab.start_from(MUELLER, "converged")
    return Operator(lab, lab_inventory)


@pytest.fixture
def packaged_box(lab: Lab, lab_inventory: Path, first_run: Converge) -> Operator:
    """The operator of a box that has Debian's packages and nothing of hearth's."""
    lab.start_from(MUELLER, "packages")
    return Operator(lab, lab_inventory)


@pytest.fixture(scope="session")
def relay_snapshot(lab: Lab, start: Callable[..., None]) -> str:
    """The name of a snapshot of the bare relay."""
    start(RELAY)
    lab.snapshot(RELAY, "bare-relay")
    return "bare-relay"


@pytest.fixture(scope="session")
def pi_snapshot(lab: Lab, start: Callable[..., None]) -> str:
    """The name of a snapshot of the bare Pi."""
    start(PI)
    lab.snapshot(PI, "bare-pi")
    return "bare-pi"


@pytest.fixture(scope="module")
def bare_pi(lab: Lab, pi_snapshot: str) -> None:
    """A Pi that no other test file has touched."""
    lab.start_from(PI, pi_snapshot)


@pytest.fixture(scope="module")
def bare_relay(
    lab: Lab,
    lab_inventory: Path,
    start: Callable[..., None],
    relay_snapshot: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Operator:
    """The operator of a relay that no other test file has touched, with an inventory of his own; a visitor is there."""
    start(VISITOR)
    lab.start_from(RELAY, relay_snapshot)
    folder = tmp_path_factory.mktemp("relay") / "inventory"
    return Operator(lab, lab_inventory).with_fleet(folder, lambda fleet, household: None)

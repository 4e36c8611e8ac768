"""``hearth converge`` over a relay and two boxes in the lab: first day, canary, a box that is off, drift, a removal.

The second box is a clone of the first one's snapshot, so that two converged boxes cost one converge. From the second
converge on the bench links are out: the operator's only way is through the relay, as in life.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.fleet.events import Gate
from hearth.fleet.records import Record, paths, read
from hearth.hostlock import LOCK
from hearth.lab.lab import Lab
from tests.lab.boxes import MUELLER, RELAY, REPOSITORY, Converge, Operator, wait_for

pytestmark = pytest.mark.lab

HEARTH = Path(sys.executable).with_name("hearth")
SCHMIDT = "box-schmidt"
ADDRESSES = {MUELLER: "127.10.0.17", SCHMIDT: "127.10.0.18"}
BROKEN = "/etc/apache2/conf-enabled/broken.conf"
SITE = "/etc/apache2/sites-enabled/hearth.conf"


@dataclass(frozen=True)
class Fleet:
    """The operator of the lab's fleet. ``state``: where his records are."""

    operator: Operator
    state: Path

    @property
    def lab(self) -> Lab:
        """The lab."""
        return self.operator.lab

    def command(self, *arguments: str) -> list[str]:
        """The command line of ``hearth``."""
        return [str(HEARTH), *arguments, "--inventory", str(self.operator.inventory)]

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

    def hearth(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``hearth`` to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=REPOSITORY,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def converge(self, *arguments: str, status: int = 0) -> Record:
        """Run ``hearth converge`` with that exit status, and return its record."""
        run = self.hearth("converge", "--yes", "--attempts", "1", *arguments)
        assert run.returncode == status, f"{run.stdout}\n{run.stderr}\n{self.logs()}"
        return read(self.records()[0])

    def logs(self) -> str:
        """The ends of what pyinfra printed for hosts that failed."""
        return "\n".join(path.read_text()[-3000:] for path in self.state.glob("hearth/example/slices/*/*.log"))

    def tunnel_is_up(self, box: str) -> bool:
        """Whether the relay listens for a box."""
        return ADDRESSES[box] in self.lab.exec(RELAY, ["ss", "-Hltn", "sport = :10022"]).stdout


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def states(record: Record) -> dict[str, str]:
    assert record.end is not None
    return dict(record.end.states)


def without_support(fleet: dict[str, Any], household: dict[str, Any]) -> None:
    """Take the Pi out, and who needs it."""
    fleet.update(pis=[], helpers=[])


@pytest.fixture(scope="module")
def fleet(
    lab: Lab,
    lab_inventory: Path,
    first_run: Converge,
    bare_relay: Operator,
    bare: str,
    start: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    """The fleet after its first day, which took two converges and a collect; only the relay is reached directly."""
    start(SCHMIDT)
    for box in (MUELLER, SCHMIDT):
        lab.start_from(box, "converged")
    # A clone is not let in with the keys of its original.
    lab.exec(SCHMIDT, ["sh", "-c", "systemctl stop hearth-tunnel; rm -rf /etc/hearth/tunnel"])
    folder = tmp_path_factory.mktemp("fleet-run")
    operator = Operator(lab, lab_inventory).with_fleet(folder / "inventory", without_support)
    local = operator.inventory / "local.yaml"
    known = yaml.safe_load(local.read_text())
    known["hosts"].pop("pi1", None)
    local.write_text(yaml.safe_dump(known))
    for household in (operator.inventory / "households").iterdir():
        household.write_text(household.read_text().partition("support:")[0].replace("issuer: acme", "issuer: operator"))
    made = Fleet(operator, folder / "state")
    made.converge()
    collected = made.hearth("collect")
    assert collected.returncode == 0, collected.stderr
    made.converge()
    for box in (MUELLER, SCHMIDT):
        wait_for(lambda box=box: made.tunnel_is_up(box), 60, f"the tunnel of {box}")  # type: ignore[misc]
        lab.bench(box, False)
    yield made
    for box in (MUELLER, SCHMIDT):
        lab.bench(box, True)
    lab.stop(SCHMIDT)


def test_a_converged_fleet_passes_its_gates_and_nothing_changes(fleet: Fleet) -> None:
    record = fleet.converge()
    assert states(record) == {RELAY: "converged", MUELLER: "converged", SCHMIDT: "converged"}
    assert {host: end.operations for host, end in record.hosts.items()} == {RELAY: (), MUELLER: (), SCHMIDT: ()}
    assert all(end.unchanged > 10 for end in record.hosts.values())
    gates = {event.host: [check.name for check in event.checks] for event in record.events if isinstance(event, Gate)}
    assert gates[RELAY] == ["sshd", "tunnel server"]
    assert gates[MUELLER] == gates[SCHMIDT] == ["tunnel", "sshd", "certificate", "status.php"]


def test_a_broken_canary_stops_the_run_the_other_box_is_untouched_and_resume_repairs(fleet: Fleet) -> None:
    fleet.lab.exec(MUELLER, ["sh", "-c", f"echo Nonsense >{BROKEN}; echo '# drift' >>{SITE}"])
    before = fleet.lab.exec(SCHMIDT, ["sh", "-c", "journalctl -u ssh -o cat | grep -c Accepted"]).stdout
    stopped = fleet.converge(status=3)
    assert states(stopped) == {RELAY: "converged", MUELLER: "failed", SCHMIDT: "waiting"}
    assert "Nonsense" in (stopped.hosts[MUELLER].reason or "")
    after = fleet.lab.exec(SCHMIDT, ["sh", "-c", "journalctl -u ssh -o cat | grep -c Accepted"]).stdout
    assert after == before, "nobody logged in there"
    fleet.lab.exec(MUELLER, ["rm", BROKEN])
    resumed = fleet.converge("--resume")
    assert set(states(resumed).values()) == {"converged"}
    assert resumed.path == stopped.path
    assert resumed.hosts[MUELLER].corrective > 0
    assert resumed.hosts[MUELLER].intended == 0


def test_a_box_that_is_off_is_unreported_and_pending_converges_it_when_it_is_back(fleet: Fleet) -> None:
    fleet.lab.stop(SCHMIDT)
    wait_for(lambda: not fleet.tunnel_is_up(SCHMIDT), 90, "the relay to notice")
    away = fleet.converge("--max-failures", "0", status=4)
    assert states(away) == {RELAY: "converged", MUELLER: "converged", SCHMIDT: "unreported"}
    assert "the box's tunnel is not up" in (away.hosts[SCHMIDT].reason or "")
    fleet.lab.start(SCHMIDT)
    wait_for(lambda: fleet.tunnel_is_up(SCHMIDT), 90, "the tunnel")
    assert states(fleet.converge("--pending")) == {SCHMIDT: "converged"}


def test_a_box_that_another_machine_converges_is_left_alone(fleet: Fleet) -> None:
    hold = f"systemd-run --quiet --unit=other flock {LOCK} sleep 600"
    fleet.lab.exec(MUELLER, ["sh", "-c", f"systemctl reset-failed other 2>/dev/null; {hold}"])
    try:
        record = fleet.converge("--limit", "mueller", status=4)
        assert "another converge is at work on this host" in (record.hosts[MUELLER].reason or "")
    finally:
        fleet.lab.exec(MUELLER, ["systemctl", "stop", "other"])
    assert states(fleet.converge("--limit", "mueller")) == {MUELLER: "converged"}


def test_a_run_that_is_killed_in_a_wave_leaves_nobody_at_work_and_resume_finishes_it(fleet: Fleet) -> None:
    fleet.lab.exec(MUELLER, ["sh", "-c", f"echo '# drift' >>{SITE}"])
    before = fleet.records()
    process = subprocess.Popen(
        fleet.command("converge", "--yes", "--limit", "boxes"),
        cwd=REPOSITORY,
        env=fleet.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    locked = ["flock", "--nonblock", LOCK, "true"]
    wait_for(lambda: fleet.lab.exec(MUELLER, locked, check=False).returncode != 0, 60, "a converge of the box")
    assert fleet.slices()
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not fleet.slices(), 10, "the kernel to end the slice")
    wait_for(lambda: fleet.lab.exec(MUELLER, locked, check=False).returncode == 0, 30, "the host's lock to be free")
    resumed = fleet.converge("--resume")
    assert states(resumed) == {MUELLER: "converged", SCHMIDT: "converged"}
    assert len(fleet.records()) == len(before) + 1
    assert not any(end.operations for end in fleet.converge("--limit", "boxes").hosts.values())


def test_a_cloud_that_visitors_do_not_reach_does_not_pass_the_gate(fleet: Fleet) -> None:
    fleet.lab.exec(RELAY, ["systemctl", "stop", "haproxy"])
    try:
        run = fleet.converge("--limit", "mueller", "--patience", "5", status=2)
        gate = next(event for event in run.events if isinstance(event, Gate))
        assert [check.name for check in gate.checks if not check.passed] == ["certificate"]
    finally:
        fleet.lab.exec(RELAY, ["systemctl", "start", "haproxy"])


def test_a_household_that_is_gone_loses_its_tunnel_and_its_route(fleet: Fleet) -> None:
    for path in ("households/schmidt.yaml", f"collected/{SCHMIDT}.yaml"):
        (fleet.operator.inventory / path).unlink()
    local = fleet.operator.inventory / "local.yaml"
    known = yaml.safe_load(local.read_text())
    del known["hosts"][SCHMIDT]
    local.write_text(yaml.safe_dump(known))
    refused = fleet.hearth("converge", "--yes", "--limit", RELAY)
    assert refused.returncode == 1
    assert "by a run over the whole fleet only" in refused.stderr
    assert fleet.tunnel_is_up(SCHMIDT)
    record = fleet.converge()
    assert record.begin.removed == ("schmidt",)
    assert not fleet.tunnel_is_up(SCHMIDT)
    assert "schmidt" not in fleet.lab.exec(RELAY, ["cat", "/etc/hearth/router/hosts.map"]).stdout

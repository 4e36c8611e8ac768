"""A change that would lock the operator out does not hold: the box goes back by itself, whatever happens to him."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from roles.sshd import GUARD_S
from tests.lab.boxes import MUELLER, REPOSITORY, Operator, wait_for
from tests.lab.logins import BEN, SSH_PORT, answers, known_road, new_key

pytestmark = pytest.mark.lab

HARDEN = "sshd | Harden sshd and let the operators in"
NO_SUDO = "sshd | Take sudo from who is no operator any more"
NEW_PORT = 2022
WALL_S = 30
WALL = "/etc/nftables.d/hearth-test.nft"
# After an undo, too: then the file is absent, and the wall goes.
WALL_UP = f"nft delete table inet hearthtest 2>/dev/null; ! test -e {WALL} || nft --file {WALL}"
NEW_CONNECTIONS = f"tcp dport {SSH_PORT} tcp flags & (syn | ack) == syn drop"
EVERY_PACKET = f"tcp sport {SSH_PORT} drop; tcp dport {SSH_PORT} drop"

Change = Callable[[dict[str, Any], dict[str, Any]], None]


def wall(folder: Path, rule: str) -> str:
    """A deploy of its own that puts one firewall rule, guarded."""
    chains = (f"chain {way} {{\n type filter hook {way} priority 0;\n {rule}\n }}\n" for way in ("input", "output"))
    rules = f"table inet hearthtest {{\n {''.join(chains)}}}\n"
    path = folder / "wall.py"
    path.write_text(
        "from hearth import artefacts\n"
        f"artefacts.put(name='Put a wall', change='wall', artefacts=(artefacts.File({WALL!r}, {rules!r}),),\n"
        f"    activate={WALL_UP!r}, guard_s={WALL_S})\n"
    )
    return str(path)


def without_anna(box: Operator, folder: Path, port: int = SSH_PORT) -> Operator:
    """An inventory that knows ben alone, whose key this machine has not: it comes in today, and not tomorrow."""
    _, key = new_key(folder, BEN)

    def ben_alone(fleet: dict[str, Any], household: dict[str, Any]) -> None:
        fleet["operators"] = [{"name": BEN, "keys": [key]}]
        household["ssh_port"] = port

    operator = box.with_fleet(folder / "without-anna", ben_alone)
    known_road(operator, "anna", SSH_PORT)
    path = operator.inventory / "local.yaml"
    local = yaml.safe_load(path.read_text())
    del local["operator"]["name"]
    path.write_text(yaml.safe_dump(local))
    return operator


def waiting(box: Operator) -> list[str]:
    """The changes that wait on the box for a confirmation or an undo."""
    return box.lab.exec(
        MUELLER, ["find", "/var/lib/hearth/changes", "-mindepth", "1", "-printf", "%P\n"]
    ).stdout.split()


def changed_by(operator: Operator) -> list[str]:
    """Converge with success; the operations that changed something."""
    run = operator.converge()
    assert run.status == 0, run.output
    return run.changed


@contextmanager
def converging(box: Operator, log: Path, deploy: str = "deploys/box.py") -> Iterator[subprocess.Popen[bytes]]:
    """A converge that runs meanwhile, writing to ``log``, and is killed at the end if it still runs."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            box.command("--limit", MUELLER, "-y", deploy=deploy),
            cwd=REPOSITORY,
            env=box.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def walled(box: Operator) -> Operator:
    """A box on which a wall can be put."""
    box.lab.exec(MUELLER, ["sh", "-c", "command -v nft || apt-get install --yes nftables"])
    return box


@pytest.mark.parametrize("rule", [NEW_CONNECTIONS, EVERY_PACKET], ids=["new connections", "every packet"])
def test_a_wall_before_the_operator_falls_by_itself_and_the_converge_fails(
    walled: Operator, rule: str, tmp_path: Path
) -> None:
    started = time.monotonic()
    run = walled.converge(deploy=wall(tmp_path, rule))
    assert run.status != 0
    assert "the operator could not log in anew" in run.output
    assert "the host has undone the change by itself and answers again" in run.output
    assert time.monotonic() - started > WALL_S / 2, "the wall never stood"
    assert ("no answer over the old connection" in run.output) == (rule == EVERY_PACKET)
    assert answers(walled)
    assert walled.lab.exec(MUELLER, ["test", "-e", WALL], check=False).returncode == 1
    assert waiting(walled) == []


def test_a_wall_that_lets_the_operator_in_stays(walled: Operator, tmp_path: Path) -> None:
    """The same deploy with a harmless rule: without it, a guard that undoes everything would pass for a good one."""
    deploy = wall(tmp_path, "tcp dport 9 drop")
    assert walled.converge(deploy=deploy).results == {"Put a wall": "success"}
    assert walled.converge(deploy=deploy).results == {"Put a wall": "no change"}
    assert "tcp dport 9 drop" in walled.lab.exec(MUELLER, ["nft", "list", "ruleset"]).stdout
    walled.lab.exec(MUELLER, ["sh", "-c", f"rm {WALL} /var/lib/hearth/applied/wall; nft delete table inet hearthtest"])


def test_the_box_goes_back_when_the_operators_machine_dies_before_confirming(
    walled: Operator, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    def wall_stands() -> bool:
        return walled.lab.exec(MUELLER, ["nft", "list", "table", "inet", "hearthtest"], check=False).returncode == 0

    with converging(walled, tmp_path / "log", wall(tmp_path, NEW_CONNECTIONS)):
        wait_for(wall_stands, 60, "the wall")
        started = time.monotonic()
    assert "wall/change.json" in waiting(walled)
    assert not answers(walled)
    wait_for(lambda: answers(walled), WALL_S + 5, "the box to go back")
    record_property("seconds until the box answered again", round(time.monotonic() - started))
    wait_for(lambda: waiting(walled) == [], 5, "the undo to be settled")
    assert not wall_stands()
    assert changed_by(walled) == []


def test_an_inventory_that_forgets_who_works_here_is_refused_before_any_box(box: Operator, tmp_path: Path) -> None:
    _, key = new_key(tmp_path, BEN)
    other = box.with_fleet(tmp_path / "fleet", lambda fleet, _: fleet.update(operators=[{"name": BEN, "keys": [key]}]))
    run = other.converge()
    assert run.status != 0
    assert 'fleet.yaml has no operator "anna"' in run.output
    assert run.results == {}


def test_a_box_that_no_longer_lets_the_operator_in_goes_back_within_the_guards_time(
    fresh_box: Operator, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """``sshd -t`` accepts the change: the guard comes after the check, of which that is the first part."""
    before = fresh_box.lab.exec(MUELLER, ["cat", "/var/lib/hearth/applied/sshd"]).stdout
    with converging(without_anna(fresh_box, tmp_path), tmp_path / "log") as process:
        wait_for(lambda: "sshd/change.json" in waiting(fresh_box), 60, "the change")
        started = time.monotonic()
        wait_for(lambda: waiting(fresh_box) == [], GUARD_S + 5, "the undo")
        record_property("seconds until the box went back", round(time.monotonic() - started))
        assert process.wait(30) != 0
    output = (tmp_path / "log").read_text()
    assert f"the operator could not log in anew: {BEN}@" in output
    assert "the login was refused" in output
    assert "the host has undone the change by itself and answers again" in output
    assert fresh_box.lab.exec(MUELLER, ["cat", "/var/lib/hearth/applied/sshd"]).stdout == before
    # Ben's account had been made before sshd would have let him in.
    assert changed_by(fresh_box) == [NO_SUDO]


def test_a_power_cut_while_a_change_waits_ends_in_the_old_state(fresh_box: Operator, tmp_path: Path) -> None:
    def stands() -> bool:
        return answers(fresh_box, NEW_PORT) and not answers(fresh_box)

    with converging(without_anna(fresh_box, tmp_path, NEW_PORT), tmp_path / "log"):
        wait_for(stands, 60, "the new port")
        assert "sshd/change.json" in waiting(fresh_box)
        fresh_box.lab.kill(MUELLER)
    fresh_box.lab.start(MUELLER)
    assert answers(fresh_box)
    assert not answers(fresh_box, NEW_PORT)
    assert waiting(fresh_box) == []
    times = {
        unit: fresh_box.lab.exec(MUELLER, ["systemctl", "show", "--value", f"--property={moment}", unit]).stdout
        for unit, moment in (
            ("hearth-recover.service", "ExecMainExitTimestampMonotonic"),
            ("ssh.service", "ExecMainStartTimestampMonotonic"),
        )
    }
    assert 0 < int(times["hearth-recover.service"]) < int(times["ssh.service"])
    journal = fresh_box.lab.exec(MUELLER, ["journalctl", "--boot", "--unit=hearth-recover", "--output=cat"]).stdout
    assert "undone: sshd" in journal
    assert changed_by(fresh_box) == [NO_SUDO]


def moved_to(port: int) -> Change:
    def change(_: dict[str, Any], household: dict[str, Any]) -> None:
        household["ssh_port"] = port

    return change


def test_the_port_of_sshd_moves_in_one_converge(fresh_box: Operator, tmp_path: Path) -> None:
    moved = fresh_box.with_fleet(tmp_path / "moved", moved_to(NEW_PORT))
    known_road(moved, "anna", SSH_PORT)
    run = moved.converge()
    assert run.status == 0, run.output
    assert run.changed == [HARDEN]
    assert answers(moved, NEW_PORT)
    assert not answers(moved)
    assert changed_by(moved) == []


def test_a_port_that_something_else_has_taken_is_given_back(fresh_box: Operator, tmp_path: Path) -> None:
    """sshd, reloaded, finds no port to bind and ends; a reload of the old files alone would find no sshd."""
    serve = ["systemd-run", "--unit=squatter", "python3", "-m", "http.server", "--bind", "::", str(NEW_PORT)]
    fresh_box.lab.exec(MUELLER, serve)
    listens = ["sh", "-c", f"ss -Hltn | grep -q :{NEW_PORT}"]
    wait_for(lambda: fresh_box.lab.exec(MUELLER, listens, check=False).returncode == 0, 20, "the squatter")
    moved = fresh_box.with_fleet(tmp_path / "moved", moved_to(NEW_PORT))
    known_road(moved, "anna", SSH_PORT)
    run = moved.converge()
    assert run.status != 0
    journal = fresh_box.lab.exec(MUELLER, ["journalctl", "--boot", "--lines=200", "--no-pager"]).stdout
    assert answers(fresh_box), f"{run.output}\n{journal}"
    assert waiting(fresh_box) == []
    assert changed_by(fresh_box) == []

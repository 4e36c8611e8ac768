"""A support Pi on Debian 12, as people use it: the commands of the manual, who leaves, and the operator's way in.

On Debian 13 the Pi is converged by tests/lab/test_pi_attacks.py.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.lab.lab import Lab
from tests.lab.boxes import Operator, wait_for
from tests.lab.conftest import copy_of_the_example, lab_name, take_down_labs_of_dead_runs
from tests.lab.sshds import ANYBODYS, ATTACKER, BOTH, Attack, start_services
from tests.lab.supporters import (
    DEPLOY,
    KEYS,
    NEIGHBOUR,
    OMA,
    ONKEL,
    OTHER_PORT,
    PAGE,
    PI,
    PI_NAME,
    ROUTER,
    ROUTER_NAME,
    SESSIONS,
    TANTE,
    Pi,
    browse,
    converged_pi,
    router_pages,
    screens_attacks,
    socks_attacks,
    viewers_attacks,
    without,
)

pytestmark = pytest.mark.lab

PROXY = "socks5h://127.0.0.1:10123"
OWN = f"-R {OMA}:localhost:22"
OWN_ATTACKS = {"screen": screens_attacks(BOTH), "viewer": viewers_attacks(BOTH), "socks": socks_attacks()}
CASES = [
    *((account, attack) for account in KEYS for attack in OWN_ATTACKS[account]),
    *(("screen", attack) for attack in ANYBODYS),
]


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """A converged Debian 12 Pi in a lab of its own, and what stands around it."""
    take_down_labs_of_dead_runs()
    folder = tmp_path_factory.mktemp("pi")
    lab = Lab(lab_name("p"))
    try:
        inventory = copy_of_the_example(folder / "example")
        lab.up([ATTACKER, PI], inventory, pi_suite="bookworm")
        made = converged_pi(lab, inventory, folder / "inventory")
        start_services(lab, PI, TANTE, ONKEL)
        with router_pages(lab):
            yield made
    finally:
        lab.down()


@contextmanager
def typing(pi: Pi, person: str, command: str) -> Iterator[None]:
    """Let a person run a command on the helper's computer, with a key where ssh looks for it, and end it at the end."""
    host_key = pi.on("cat", "/etc/ssh/hearth-tunnel/ssh_host_ed25519_key.pub")
    pinned = "".join(f"[{PI_NAME}]:{port} {host_key}" for port in (9212, 22999))
    pi.lab.exec(ATTACKER, ["tee", "/root/.ssh/known_hosts"], stdin=pinned)
    pi.lab.exec(ATTACKER, ["cp", f"/root/keys/{person}", "/root/.ssh/id_ed25519"])
    unit = f"lab-{person}"
    before = pi.journal().count("Accepted publickey")
    pi.lab.exec(ATTACKER, ["systemd-run", "--quiet", "--collect", f"--unit={unit}", *command.split()])
    try:
        wait_for(lambda: pi.journal().count("Accepted publickey") > before, 20, f"{person}'s login")
        yield
    finally:
        pi.lab.exec(ATTACKER, ["systemctl", "stop", unit], check=False)


def sessions(pi: Pi) -> dict[str, dict[str, Any]]:
    """Who is connected, by name."""
    found = [json.loads(line) for line in pi.on(SESSIONS, "list").splitlines()]
    return {one["person"]: one for one in found}


def test_a_debian_12_pi_is_converged_and_the_second_time_nothing_changes(pi: Pi) -> None:
    assert 'VERSION_ID="12"' in pi.on("cat", "/etc/os-release")
    run = pi.converge()
    assert run.status == 0
    assert len(run.results) > 20
    assert run.changed == []
    assert pi.on("systemctl", "is-system-running", check=False) == "running\n"


def test_its_sshds_offer_the_best_key_exchange_that_they_know(pi: Pi) -> None:
    for config in ("/etc/ssh/sshd_config", "/etc/ssh/hearth-tunnel/sshd_config"):
        effective = pi.on("sshd", "-T", "-f", config, "-C", "user=screen,host=any,addr=192.0.2.1").splitlines()
        assert (
            "kexalgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org"
            in effective
        )


def test_the_commands_of_the_manual_work_as_they_are_written(pi: Pi) -> None:
    screen = f"ssh -N -R 17934:localhost:22 -p 9212 screen@{PI_NAME}"
    viewer = f"ssh -N -L 17934:localhost:17934 -p 9212 viewer@{PI_NAME}"
    with typing(pi, "oma", screen), typing(pi, "karl", viewer):
        wait_for(lambda: pi.listens(OMA), 10, "oma's port")
        ask = ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/17934 && timeout 5 head -c 7 <&3"]
        assert pi.lab.exec(ATTACKER, ask, check=False).stdout == "SSH-2.0"
        listeners = pi.on("ss", "-Hltn", "sport = :17934").split()
        assert {word for word in listeners if word.endswith(":17934")} == {"127.0.0.1:17934", "[::1]:17934"}
    wait_for(lambda: not pi.listens(OMA), 30, "oma's port to go")


def test_socks_opens_the_routers_page_and_nothing_else(pi: Pi) -> None:
    others = (
        *(f"{place}:80" for place in (f"[::ffff:{ROUTER}]", "fritz.box", NEIGHBOUR)),
        *(f"{place}:{OTHER_PORT}" for place in (ROUTER, ROUTER_NAME, NEIGHBOUR)),
        *(f"{place}:7777" for place in ("127.0.0.1", "localhost", "[::1]", PI, "192.168.1.10")),
    )
    at_the_pi = ["ip", "netns", "exec", pi.lab.netns(PI), "curl", "--silent", f"http://{NEIGHBOUR}:{OTHER_PORT}/"]
    assert subprocess.run(at_the_pi, capture_output=True, text=True, check=True).stdout == "another page"
    with typing(pi, "lena", f"ssh -N -D 10123 -p 22999 socks@{PI_NAME}"):
        for place in (ROUTER, ROUTER_NAME):
            assert browse(pi.lab, f"http://{place}/", "--proxy", PROXY) == PAGE
        for place in others:
            assert browse(pi.lab, f"http://{place}/", "--http0.9", "--proxy", PROXY) == "", place
        assert browse(pi.lab, f"http://{ROUTER}/", "--proxy", "socks5://127.0.0.1:10123") == PAGE


@pytest.mark.parametrize(("account", "attack"), CASES, ids=str)
def test_an_attack_is_refused(pi: Pi, account: str, attack: Attack) -> None:
    """That each works where nothing refuses it, is shown by tests/lab/test_pi_attacks.py."""
    assert not attack.works(pi.sshd("hardened", account))


def test_who_is_connected_is_listed_by_name_and_the_journal_names_people_too(pi: Pi) -> None:
    started = datetime.now(UTC) - timedelta(seconds=2)
    with pi.sshd("hardened", "screen").holding(OWN), pi.sshd("hardened", "socks").holding("-D 10124"):
        found = sessions(pi)
    assert {(person, one["kind"], one["port"]) for person, one in found.items()} == {
        ("mueller/oma", "screen", OMA),
        ("lena", "socks", None),
    }
    assert found["lena"]["from"] == pi.lab.public_address(ATTACKER)
    assert started < datetime.fromisoformat(found["lena"]["since"]) < datetime.now(UTC)
    assert "found at /etc/ssh/tunnel-keys/screen/mueller/oma:2" in pi.journal()
    assert "found at /etc/ssh/tunnel-keys/socks/lena:2" in pi.journal()


def test_a_person_who_is_taken_out_loses_the_live_session_and_the_others_notice_nothing(pi: Pi) -> None:
    oma, lena = pi.sshd("hardened", "screen"), pi.sshd("hardened", "socks")
    with oma.holding(OWN) as granted, lena.holding("-D 10124"):
        assert granted
        before = sessions(pi)["lena"]
        with pi.with_people(without("oma")):
            run = pi.converge()
        assert run.status == 0, run.output[-4000:]
        assert f"mueller/oma from {pi.lab.public_address(ATTACKER)}: its key is not granted any more" in run.output
        assert sessions(pi) == {"lena": before}
        assert not pi.listens(OMA)
        assert not oma.holds(OWN)
    assert pi.converge().status == 0
    assert oma.holds(OWN)


def test_a_key_past_its_last_day_is_refused_and_its_live_session_ends(pi: Pi) -> None:
    day = datetime.now(UTC).date()

    def until(days: int) -> Any:
        def change(helpers: list[Any], screens: list[Any]) -> None:
            screens[0]["key"] = {"key": screens[0]["key"], "until": f"{day + timedelta(days=days)}"}

        return change

    oma = pi.sshd("hardened", "screen")
    with pi.with_people(until(+2)):
        assert pi.converge().status == 0
    with oma.holding(OWN) as granted:
        assert granted, "a last day that is to come changes nothing"
        with pi.with_people(until(-2)):
            run = pi.converge()
        assert run.status == 0, run.output[-4000:]
        assert "mueller/oma from" in run.output
        assert "its key has expired" in run.output
        assert sessions(pi) == {}
        assert not oma.holds(OWN)
    assert pi.converge().status == 0
    assert oma.holds(OWN)


def with_ssh_port(pi: Pi, folder: Path, port: int) -> Operator:
    """An operator whose inventory moves the Pi's sshd from 2222 to ``port``, and who knows how it is reached today."""

    def move(fleet: dict[str, Any], household: dict[str, Any]) -> None:
        fleet["pis"][0]["ssh_port"] = port

    moved = pi.operator.with_fleet(folder, move)
    path = moved.inventory / "local.yaml"
    local = yaml.safe_load(path.read_text())
    local["hosts"][PI] |= {"user": "anna", "port": 2222, "identity": local["operator"]["identity"]}
    path.write_text(yaml.safe_dump(local))
    # The operator asks at the new port first, and is told at once that it is closed instead of waiting for an answer.
    reject = f"nft insert rule inet hearth input tcp dport {port} reject with tcp reset"
    pi.on(*reject.split())
    return moved


def test_a_port_that_something_else_has_taken_does_not_lock_the_operator_out(pi: Pi, tmp_path: Path) -> None:
    """sshd -t accepts it, and an sshd that finds its port taken ends: the guard starts it where it was."""
    moved = with_ssh_port(pi, tmp_path / "taken", 7777)
    run = moved.converge(limit=PI, deploy=DEPLOY)
    assert run.status != 0
    # At once, when systemd noticed that sshd had ended; else when the guard's time is over.
    undone = ("the old files are back", "the host has undone the change by itself and answers again")
    assert any(words in run.output for words in undone), run.output[-2000:]
    again = pi.converge()
    assert again.status == 0, again.output[-4000:]
    assert again.changed == ["Firewall | See that the firewall is loaded"], "which closes the way to the port again"


def test_the_port_of_sshd_moves_in_one_converge_through_the_firewall(pi: Pi, tmp_path: Path) -> None:
    moved = with_ssh_port(pi, tmp_path / "moved", 2022)
    run = moved.converge(limit=PI, deploy=DEPLOY)
    assert run.status == 0, run.output[-4000:]
    assert moved.converge(limit=PI, deploy=DEPLOY).changed == []
    assert (pi.listens(2022), pi.listens(2222)) == (True, False)

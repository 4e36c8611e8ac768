"""After each mishap the household's name answers again within a minute, and nobody has done anything for it.

A visitor on the internet asks for the cloud's status all the time: by the name, through the relay's real router and the
box's real tunnel. What counts is the time from when the cause is gone until his next answer; it is printed.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import pytest

from hearth.lab.lab import Lab
from hearth.lab.process import LabError
from tests.lab.boxes import MUELLER, RELAY, VISITOR, Operator, wait_for
from tests.lab.homes import ADDRESS, from_outside, tunnel_is_up

pytestmark = pytest.mark.lab

LIMIT_S = 60.0
"""The requirement's own bound."""

OUTAGE_S = 180.0
# So many mishaps one after another: systemd by itself never comes back to the first, short delay (systemd#43813).
KILLS = 6
TUNNEL = "hearth-tunnel.service"
OTHER_ADDRESS = "198.51.100.200"
ANSWERS = ("--max-time", "3", "--output", "/dev/null", "--write-out", "%{http_code}")


@dataclass(frozen=True)
class Home:
    """A home that a visitor looks at."""

    operator: Operator

    def answers(self) -> bool:
        """Whether the visitor gets an answer now."""
        asked = self.operator.lab.exec(VISITOR, from_outside("/status.php", *ANSWERS), check=False)
        return asked.stdout == "200"

    def back_after(self, mishap: str, gone_at: float) -> None:
        """Wait for the visitor's next answer; print and judge the time since ``gone_at`` (of ``time.monotonic()``)."""
        while not (answers := self.answers()) and time.monotonic() - gone_at < 2 * LIMIT_S:
            time.sleep(0.2)
        took_s = time.monotonic() - gone_at
        # `pytest -rP` shows it.
        sys.stdout.write(f"{mishap}: {'back' if answers else 'not back'} after {took_s:.1f} s\n")
        assert answers
        assert took_s < LIMIT_S

    def client(self) -> str:
        """The process id of the box's ssh."""
        return self.on_box("systemctl", "show", "--property=MainPID", "--value", TUNNEL).strip()

    def session(self) -> str:
        """What listens for the household on the relay, with the process that does."""
        return self.operator.lab.exec(RELAY, ["ss", "-Hltnp", "src", ADDRESS]).stdout

    def on_box(self, *argv: str) -> str:
        return self.operator.lab.exec(MUELLER, argv).stdout


def started(lab: Lab) -> str:
    """When the relay's process 1 began, in clock ticks (proc(5)); empty while there is none."""
    try:
        return lab.exec(RELAY, ["cat", "/proc/1/stat"], check=False).stdout.split(" ")[21]
    except (LabError, IndexError):
        return ""


@pytest.fixture
def seen(home: Operator, visitor: str) -> Home:
    """The home, whose tunnel is up."""
    watched = Home(home)
    wait_for(watched.answers, LIMIT_S, "the home to answer before the mishap")
    return watched


def test_the_name_answers_again_after_the_cable_was_out_for_three_minutes(seen: Home) -> None:
    lab = seen.operator.lab
    lab.cable(MUELLER, False)
    try:
        pulled_at = time.monotonic()
        assert not seen.answers()
        wait_for(lambda: not tunnel_is_up(lab), LIMIT_S, "the relay to give the dead line up")
        time.sleep(max(0.0, pulled_at + OUTAGE_S - time.monotonic()))
        assert not seen.answers()
    finally:
        lab.cable(MUELLER, True)
    seen.back_after("cable out for 3 minutes", time.monotonic())


def test_the_name_answers_again_after_the_home_got_another_public_address(seen: Home) -> None:
    lab = seen.operator.lab
    before = seen.client()
    for address in (OTHER_ADDRESS, lab.public_address(MUELLER)):
        lab.readdress(MUELLER, address)
        changed_at = time.monotonic()
        assert not seen.answers(), "the old line must be dead"
        seen.back_after(f"public address changed to {address}", changed_at)
    assert seen.client() != before


def test_the_name_answers_again_after_the_relay_was_rebooted(seen: Home) -> None:
    """The reboot counts as well: the time is taken from when it was ordered."""
    lab = seen.operator.lab
    before = started(lab)
    ordered_at = time.monotonic()
    lab.exec(RELAY, ["systemctl", "reboot"], check=False)
    wait_for(lambda: started(lab) not in ("", before), LIMIT_S, "the relay to boot")
    seen.back_after("relay rebooted", ordered_at)


def test_the_name_answers_again_after_the_relay_has_lost_its_power(seen: Home) -> None:
    """Nobody tells the box that its line is dead: that time counts as well."""
    lab = seen.operator.lab
    lab.kill(RELAY)
    lab.start(RELAY)
    seen.back_after("relay without power for a moment", time.monotonic())


def test_the_name_goes_on_answering_while_sshd_is_upgraded_and_restarted_on_the_relay(seen: Home) -> None:
    """The tunnel is not even cut, and the upgraded sshd lets new ones in."""
    lab = seen.operator.lab
    before, listener = seen.session(), "systemctl show --property=MainPID --value hearth-tunnel-sshd ssh"
    servers = lab.exec(RELAY, ["sh", "-c", listener]).stdout
    upgrade = "apt-get -qq update && apt-get -qqy install --reinstall openssh-server"
    lab.exec(RELAY, ["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", upgrade], timeout_s=300)
    lab.exec(RELAY, ["systemctl", "restart", "ssh.service", "hearth-tunnel-sshd.service"])
    seen.back_after("sshd upgraded and restarted on the relay", time.monotonic())
    assert seen.session() == before != ""
    assert not set(lab.exec(RELAY, ["sh", "-c", listener]).stdout.split()) & set(servers.split())
    seen.on_box("systemctl", "restart", TUNNEL)
    assert seen.session() not in ("", before)


def test_the_name_answers_again_after_the_client_was_killed_however_often(seen: Home) -> None:
    for number in range(1, KILLS + 1):
        before = seen.client()
        seen.on_box("kill", "-9", before)
        seen.back_after(f"client killed for the {number}. time", time.monotonic())
        assert seen.client() != before

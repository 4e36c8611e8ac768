"""The support Pi's accounts: each key's line, both fences, and what an older OpenSSH is told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from zoneinfo import ZoneInfo

import pytest

from hearth import ssh_policy
from hearth.inventory.hosts import PiHost
from hearth.inventory.model import Helper, PersonKey, RouterPage, Screen, SupportPi
from roles import sshd, tunnel_server
from roles.tunnel_server.accounts import KeyLine, ends, key_files, page_places, render, support_accounts

from .samples import ANNA, HOUSEHOLD
from .test_tunnel_server import KEY, OTHER, program, settings

__all__ = ["program"]

THIRD = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINo129hDt7UwAUhC+0eT4ZitkRYwCFt+vNZ+kGRWOR2g"
FOURTH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAnqoHub++VAvU1ylHnOfbavqYO3e/X5u/hvArpPQdea"
OMA = Screen("oma", 17934, PersonKey(f"{KEY} oma@home"), ("karl",))
OPA = Screen("opa", 17935, PersonKey(OTHER), ("max", "karl"))
BERLIN = ZoneInfo("Europe/Berlin")
PI = SupportPi("pi1", "pi1.home.example", 2222, 9212, routers=(RouterPage("192.168.1.1", 80, "router.lan"),))
HOST = PiHost(
    name="pi1",
    roads=(),
    operators=(ANNA,),
    ssh_port=2222,
    time_zone="Europe/Berlin",
    authority=None,
    pi=PI,
    households=(replace(HOUSEHOLD, screens=(OMA,)), replace(HOUSEHOLD, id="schmidt", slot=18, screens=(OPA,))),
    helpers=(
        Helper("karl", (PersonKey(THIRD),), socks=("pi1",)),
        Helper("max", (PersonKey(FOURTH),), socks=("pi2",)),
    ),
)
SCREEN, VIEWER, SOCKS = support_accounts(HOST)
ALL = (SCREEN, VIEWER, SOCKS)


def matches(text: str) -> dict[str, dict[str, str]]:
    """The blocks of an sshd_config for single users: user -> keyword -> value."""
    blocks = [block.splitlines() for block in text.split("\nMatch User ")[1:]]
    return {lines[0]: dict(line.strip().partition(" ")[::2] for line in lines[1:] if line) for lines in blocks}


def test_a_screens_key_binds_its_own_port_on_loopback_and_reaches_nothing() -> None:
    assert render(SCREEN.keys[0]) == (
        'restrict,port-forwarding,command="/usr/sbin/nologin",'
        'permitlisten="localhost:17934",permitlisten="127.0.0.1:17934",permitopen="none:1" '
        f"{KEY} mueller/oma"
    )


def test_a_helpers_key_reaches_the_ports_of_whom_it_helps_and_binds_none() -> None:
    grants = {line.name: (line.listen, line.open) for line in VIEWER.keys}
    assert grants == {"karl": ((), ("localhost:17934", "localhost:17935")), "max": ((), ("localhost:17935",))}


def test_socks_reaches_router_pages_by_address_and_by_name_for_those_who_may() -> None:
    assert [(line.name, line.open) for line in SOCKS.keys] == [("karl", ("192.168.1.1:80", "router.lan:80"))]
    assert page_places(RouterPage("fd00::1", 8080)) == ("[fd00::1]:8080",)


def test_who_helps_nobody_and_a_pi_without_router_pages_have_no_line() -> None:
    idle = replace(HOST, helpers=(Helper("lena", (PersonKey(THIRD),), socks=("pi1",)),), pi=replace(PI, routers=()))
    assert [account.keys for account in support_accounts(idle)[1:]] == [(), ()]


def test_each_person_has_a_file_of_their_own_whose_path_is_their_name() -> None:
    assert [path for account in ALL for path in key_files(account)] == [
        "/etc/ssh/tunnel-keys/screen/mueller/oma",
        "/etc/ssh/tunnel-keys/screen/schmidt/opa",
        "/etc/ssh/tunnel-keys/viewer/karl",
        "/etc/ssh/tunnel-keys/viewer/max",
        "/etc/ssh/tunnel-keys/socks/karl",
    ]
    both = replace(VIEWER, keys=(KeyLine(KEY, "karl"), KeyLine(OTHER, "karl")))
    (text,) = key_files(both).values()
    assert len(text.splitlines()) == 3


def test_sshds_configuration_alone_knows_the_ports_and_pages_of_this_pi_and_no_others() -> None:
    found = matches(tunnel_server.config(ALL, (9212, 22999)))
    ports = "localhost:17934 127.0.0.1:17934 localhost:17935 127.0.0.1:17935"
    assert found["screen"]["PermitListen"] == ports
    assert found["viewer"]["PermitOpen"] == "localhost:17934 localhost:17935"
    assert found["socks"]["PermitOpen"] == "192.168.1.1:80 router.lan:80"
    assert {name: found[name]["AllowTcpForwarding"] for name in found} == {
        "screen": "remote",
        "viewer": "local",
        "socks": "local",
    }
    assert {found[name]["GatewayPorts"] for name in found} == {"no"}
    assert (found["screen"]["PermitOpen"], found["viewer"]["PermitListen"]) == ("none", "none")


def test_an_account_that_nobody_has_opens_nothing() -> None:
    empty = matches(tunnel_server.config((replace(VIEWER, keys=()),), (9212,)))["viewer"]
    assert (empty["AuthorizedKeysFile"], empty["PermitOpen"], empty["PermitListen"]) == ("none", "none", "none")
    assert tunnel_server.key_check((replace(VIEWER, keys=()),)) == "true"


def test_both_ports_lead_to_the_tunnel_sshd_and_each_is_looked_at() -> None:
    text = tunnel_server.config(ALL, (9212, 22999))
    assert [line for line in text.splitlines() if line.startswith("Port ")] == ["Port 9212", "Port 22999"]
    assert tunnel_server.verify((9212, 22999)).count("ssh-keyscan") == 2


def test_a_routers_name_is_in_the_tunnel_sshds_own_hosts_file() -> None:
    pages = (*PI.routers, RouterPage("192.168.1.1", 8080, "router.lan"), RouterPage("192.168.1.2"))
    lines = tunnel_server.hosts_file(pages).splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "127.0.0.1 localhost",
        "::1 localhost",
        "192.168.1.1 router.lan",
    ]


@pytest.mark.parametrize(
    ("last_day", "end"),
    [
        (date(2027, 1, 31), "20270131230000Z"),
        # In summer Berlin is two hours ahead; on the last Sunday of March it becomes so.
        (date(2027, 3, 27), "20270327230000Z"),
        (date(2027, 3, 28), "20270328220000Z"),
        (date(2028, 2, 29), "20280229230000Z"),
    ],
)
def test_a_keys_last_day_is_whole_in_the_fleets_time_zone(last_day: date, end: str) -> None:
    line = KeyLine(KEY, "karl", expires=ends(PersonKey(KEY, last_day), BERLIN))
    assert f',expiry-time="{end}" ssh-ed25519 ' in render(line)


def test_a_key_without_a_last_day_has_no_end() -> None:
    assert ends(PersonKey(KEY), BERLIN) is None
    assert "expiry-time" not in render(SCREEN.keys[0])


def test_debian_12_is_told_only_what_its_openssh_knows() -> None:
    old = ssh_policy.of_debian("12")
    text = tunnel_server.config(ALL, (9212,), old)
    assert "PerSourcePenalt" not in text
    assert settings(text)["KexAlgorithms"].startswith("sntrup761x25519-sha512@openssh.com,curve25519-sha256,")
    assert ssh_policy.of_debian("13") == ssh_policy.MODERN
    assert "PerSourcePenalties" in tunnel_server.config(ALL, (9212,))
    assert "mlkem" not in sshd.config(2222, (ANNA,), user_ca=False, policy=old)
    assert f"kexalgorithms {','.join(old.kex)}" in sshd.effective_settings(2222, policy=old)


def test_people_are_named_by_their_lines_wherever_below_the_folder_these_lie(
    program: ModuleType, tmp_path: Path
) -> None:
    for account in ALL:
        for path, text in key_files(account, str(tmp_path)).items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text)
    lines = program.lines_of(tmp_path, "screen")
    login = program.Login(program.fingerprint(KEY), "192.0.2.7", at_s=1_000_000_000.0)
    session = program.Session((10, 11), "screen", start_s=100.0)
    assert program.described(session, login, lines[login.fingerprint]) == {
        "person": "mueller/oma",
        "kind": "screen",
        "since": "2001-09-09T01:46:40Z",
        "from": "192.0.2.7",
        "port": 17934,
    }
    karl = program.lines_of(tmp_path, "viewer")[program.fingerprint(THIRD)]
    assert program.described(session, login, karl)["port"] is None, "he may see two screens"
    unknown = program.described(session, None, None)
    assert json.loads(json.dumps(unknown))["person"] is None
    assert set(program.texts(tmp_path)) == {
        "screen/mueller/oma",
        "screen/schmidt/opa",
        "viewer/karl",
        "viewer/max",
        "socks/karl",
    }


def test_what_was_seen_is_recorded_file_by_file(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "SEEN", tmp_path / "seen")
    files = {"screen/mueller/oma": b"one\n", "viewer/karl": b"two\n"}
    program.record(files)
    assert program.texts(tmp_path / "seen") == files
    program.record({"viewer/karl": b"three\n"})
    assert program.texts(tmp_path / "seen") == {"viewer/karl": b"three\n"}


def test_a_session_whose_key_has_expired_has_to_end(program: ModuleType) -> None:
    session, login = program.Session((10, 11), "screen", 100.0), program.Login(program.fingerprint(KEY), "192.0.2.7")
    for hours, words in ((-1, "mueller/oma from 192.0.2.7: its key has expired"), (+1, "")):
        line = render(replace(SCREEN.keys[0], expires=datetime.now(UTC) + timedelta(hours=hours)))
        lines = {login.fingerprint: line}
        assert program.verdict(session, login, lines, lines, since_s=50.0) == words

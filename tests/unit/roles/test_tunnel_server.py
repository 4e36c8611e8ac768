"""The tunnel sshd: who may do what, as text; and who has to go, as a verdict."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from roles import tunnel_server
from roles.tunnel_server.accounts import Account, KeyLine, household_account, key_files, render
from roles.tunnel_server.facts import Login, parse_logins, parse_stale

from .samples import HOUSEHOLD

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMIvScik939+AuX714xMbrQJMOfQtSEVEM3CbJtNkYb"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIpXP9AFoGk1W0fpexBZwAiJPu0Je/YLODK3EBYBnCqp"
MUELLER = replace(HOUSEHOLD, tunnel_key=f"{KEY} root@box-mueller")
SCHMIDT = replace(HOUSEHOLD, id="schmidt", slot=258, tunnel_key=OTHER)
RELAYS = household_account((MUELLER, SCHMIDT))


def settings(text: str) -> dict[str, str]:
    """The global part of an sshd_config, each keyword once."""
    lines = text.partition("\nMatch ")[0].splitlines()
    pairs = [line.partition(" ")[::2] for line in lines if line and not line.startswith("#")]
    assert len({keyword for keyword, _ in pairs}) == len(pairs)
    return dict(pairs)


def test_a_households_key_may_listen_on_its_two_ports_and_reach_nothing() -> None:
    assert render(RELAYS.keys[0]) == (
        'restrict,port-forwarding,command="/usr/sbin/nologin",'
        'permitlisten="127.10.0.17:10443",permitlisten="127.10.0.17:10022",permitopen="none:1" '
        f"{KEY} mueller"
    )


def test_a_key_that_may_listen_nowhere_says_so_since_a_missing_option_allows_all() -> None:
    line = render(KeyLine(KEY, "karl", open=("localhost:17934", "router.lan:80")))
    assert line == (
        'restrict,port-forwarding,command="/usr/sbin/nologin",'
        f'permitlisten="none:1",permitopen="localhost:17934",permitopen="router.lan:80" {KEY} karl'
    )


def test_the_key_file_is_whole_and_has_a_line_a_household_that_has_told_its_key() -> None:
    silent = replace(HOUSEHOLD, id="weber", slot=19, tunnel_key=None)
    files = key_files(household_account((MUELLER, silent, SCHMIDT)))
    assert list(files) == ["/etc/ssh/tunnel-keys/hearth-tunnel"]
    lines = files["/etc/ssh/tunnel-keys/hearth-tunnel"].splitlines()
    assert lines[0].startswith("# This file belongs to hearth")
    assert [line.rsplit(" ", 1)[1] for line in lines[1:]] == ["mueller", "schmidt"]
    assert 'permitlisten="127.10.1.2:10443"' in lines[2]


def test_the_server_gives_nobody_a_session_a_socket_a_device_or_another_way_in() -> None:
    found = settings(tunnel_server.config((RELAYS,), (9212,)))
    assert found["Port"] == "9212"
    assert found["AllowUsers"] == "hearth-tunnel"
    assert found["AuthorizedKeysFile"] == "none"
    assert found["AuthenticationMethods"] == "publickey"
    assert found["MaxSessions"] == "0"
    assert found["ForceCommand"] == "/usr/sbin/nologin"
    no = (
        *("UsePAM", "PermitRootLogin", "PermitTTY", "PermitUserRC", "PermitUserEnvironment", "X11Forwarding"),
        *("AllowAgentForwarding", "PermitTunnel", "AllowTcpForwarding", "AllowStreamLocalForwarding"),
        *("PasswordAuthentication", "KbdInteractiveAuthentication", "HostbasedAuthentication", "GatewayPorts"),
    )
    assert {found[keyword] for keyword in no} == {"no"}
    assert (found["PermitListen"], found["PermitOpen"], found["UnusedConnectionTimeout"]) == ("none", "none", "none")
    assert not {"Subsystem", "AcceptEnv"} & found.keys()


def test_the_server_itself_allows_the_account_the_two_ports_of_any_household_and_no_more() -> None:
    match = tunnel_server.config((RELAYS,), (9212,)).partition("\nMatch ")[2]
    assert [line.strip() for line in match.splitlines()] == [
        "User hearth-tunnel",
        "AuthorizedKeysFile /etc/ssh/tunnel-keys/hearth-tunnel",
        "AllowTcpForwarding remote",
        "GatewayPorts clientspecified",
        "PermitListen 127.10.*:10443 127.10.*:10022",
        "PermitOpen none",
    ]


def test_a_dead_line_is_given_up_before_a_box_comes_back_and_crowds_may_come_at_once() -> None:
    found = settings(tunnel_server.config((RELAYS,), (9212,)))
    box_gives_up_after_s = 15 * 3
    assert int(found["ClientAliveInterval"]) * int(found["ClientAliveCountMax"]) < box_gives_up_after_s
    assert (found["LoginGraceTime"], found["MaxStartups"]) == ("120", "1000:30:2000")
    assert "authfail:0" in found["PerSourcePenalties"]


def test_a_restart_of_the_unit_leaves_the_sessions_alone() -> None:
    files = {file.path: str(file.content) for file in tunnel_server.files_of((RELAYS,), (9212,))}
    unit = files["/etc/systemd/system/hearth-tunnel-sshd.service"].splitlines()
    assert {"KillMode=process", "Restart=always", "LogNamespace=hearth-tunnel"} <= set(unit)


def test_a_relay_knows_a_store_by_the_name_that_it_has_on_the_relay_and_a_pi_its_routers_by_no_other() -> None:
    relay = {file.path: str(file.content) for file in tunnel_server.files_of((RELAYS,), (9212,))}
    pi = {file.path: str(file.content) for file in tunnel_server.files_of((RELAYS,), (9212,), routers=())}
    unit, bound = (
        "/etc/systemd/system/hearth-tunnel-sshd.service",
        f"BindReadOnlyPaths={tunnel_server.HOSTS}:/etc/hosts",
    )
    assert (tunnel_server.HOSTS in relay, "/etc/hosts" in relay[unit]) == (False, False)
    assert (tunnel_server.HOSTS in pi, bound in pi[unit]) == (True, True)


def test_neither_the_unit_nor_the_kernel_stops_at_some_2000_tunnels_of_two_processes() -> None:
    files = {file.path: str(file.content) for file in tunnel_server.files_of((RELAYS,), (9212,))}
    unit = files["/etc/systemd/system/hearth-tunnel-sshd.service"].splitlines()
    assert {"TasksMax=infinity", "LimitNPROC=infinity", "LimitNOFILE=1048576"} <= set(unit)
    kernel = Path(tunnel_server.__file__).with_name("templates").joinpath("sysctl.conf.j2").read_text().splitlines()
    assert "-kernel.pid_max = 4194304" in kernel


def test_the_accounts_are_read_without_their_passwords() -> None:
    found = parse_logins(["passwd hearth-tunnel:x:998:998::/nonexistent:/usr/sbin/nologin", "shadow hearth-tunnel:*"])
    assert found == {"hearth-tunnel": Login("/nonexistent", "/usr/sbin/nologin", "*")}


def test_what_the_program_says_is_told_apart_from_what_it_must_not_say() -> None:
    stale = parse_stale(["end schmidt from 192.0.2.7: its key is not granted any more", "unrecorded"])
    assert stale.sessions == ("schmidt from 192.0.2.7: its key is not granted any more",)
    assert stale.unrecorded
    with pytest.raises(ValueError, match="unexpected line"):
        parse_stale(["Traceback (most recent call last):"])


def loaded(name: str) -> ModuleType:
    """One of the role's programs, as a module."""
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(tunnel_server.FILES / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The program that ends sessions."""
    return loaded("tunnel-sessions")


def lines_of(program: ModuleType, folder: Path, account: Account) -> dict[str, str]:
    for path, text in key_files(account, str(folder)).items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    found: dict[str, str] = program.lines_of(folder, account.name)
    return found


def test_fingerprints_are_those_that_sshd_logs(program: ModuleType) -> None:
    # From `ssh-keygen -l`.
    assert program.fingerprint(render(RELAYS.keys[0])) == "SHA256:vpVILrt3rafLYYmBsSeU+fLoz7hZxB47GVUfWL/2kOc"


def test_a_session_is_judged_by_its_key_and_by_the_line_that_it_came_in_with(
    program: ModuleType, tmp_path: Path
) -> None:
    seen = lines_of(program, tmp_path, RELAYS)
    moved = lines_of(program, tmp_path, household_account((replace(MUELLER, slot=20), SCHMIDT)))
    without = lines_of(program, tmp_path, household_account((SCHMIDT,)))
    login = program.Login(program.fingerprint(KEY), "192.0.2.7")
    old = program.Session((10, 11), "hearth-tunnel", start_s=100.0)
    young = program.Session((10, 11), "hearth-tunnel", start_s=300.0)

    def verdict(session: object, now: dict[str, str], before: dict[str, str] = seen, by: object = login) -> str:
        said: str = program.verdict(session, by, now, before, since_s=200.0)
        return said

    assert verdict(old, seen) == ""
    assert verdict(old, without) == "mueller from 192.0.2.7: its key is not granted any more"
    assert verdict(young, without) != ""
    assert verdict(old, moved) == "mueller from 192.0.2.7: its grant has changed"
    assert verdict(young, moved) == ""
    assert verdict(old, seen, {}) != ""
    assert "does not name" in verdict(old, seen, by=None)


def test_a_login_is_that_of_the_process_and_not_of_an_earlier_one_with_its_number(program: ModuleType) -> None:
    def record(pid: int, at_s: float, key: str) -> str:
        message = f"Accepted publickey for hearth-tunnel from 192.0.2.7 port 5 ssh2: ED25519 {program.fingerprint(key)}"
        times = {f"__{clock}_TIMESTAMP": str(int(at_s * 1e6)) for clock in ("MONOTONIC", "REALTIME")}
        return json.dumps({"MESSAGE": message, "_PID": str(pid), **times})

    noise = json.dumps({"MESSAGE": [1, 2], "_PID": "10", "__MONOTONIC_TIMESTAMP": "1"})
    logins = program.logins_in([record(10, 50, OTHER), noise, record(10, 101, KEY), record(12, 50, KEY)], 0.0)
    mine = program.login_of(program.Session((10, 11), "hearth-tunnel", start_s=100.0), logins)
    assert mine.fingerprint == program.fingerprint(KEY)
    assert program.login_of(program.Session((12, 13), "hearth-tunnel", start_s=100.0), logins) is None


# As ss prints them (iproute2 6.15), shortened: a line that is alive and quiet, one that sends just now, a dead one of
# IPv6, one whose other end takes nothing at the moment but says so.
CONNECTIONS = """\
0 0   198.51.100.11:9212 198.51.100.13:60850 bbr rto:204 lastsnd:29096 lastrcv:29096 lastack:29096 rcv_space:14480
0 200 198.51.100.11:9212 198.51.100.14:35044 bbr rto:204 lastsnd:4 lastrcv:8000 lastack:4 unacked:2 rcv_space:14480
0 500 [fd00:db8::1]:9212 [fd00:db8::2]:60360 bbr rto:25000 backoff:6 lastsnd:99 lastrcv:21000 lastack:20500 unacked:6
0 900 198.51.100.11:9212 198.51.100.15:60361 bbr rto:204 lastsnd:21000 lastrcv:22000 lastack:150 unacked:1 notsent:9
"""


def test_a_line_is_dead_when_what_was_sent_is_not_acknowledged_and_not_when_it_is_only_quiet() -> None:
    assert loaded("end-dead-tunnels").dead(CONNECTIONS.splitlines()) == ["[fd00:db8::2]:60360"]


def test_dead_lines_are_given_up_no_earlier_than_sshd_gives_up_quiet_ones() -> None:
    program, found = loaded("end-dead-tunnels"), settings(tunnel_server.config((RELAYS,), (9212,)))
    patience_s = int(found["ClientAliveInterval"]) * int(found["ClientAliveCountMax"])
    assert patience_s * 1000 == program.DEAD_MS
    # With the two looks, the box's address is free again before the box has tried in vain for long.
    assert program.DEAD_MS / 1000 + 2 * program.EVERY_S <= 30

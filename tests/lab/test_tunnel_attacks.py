"""What a household's key can be abused for at the relay's tunnel sshd, tried with real ssh clients.

Every attack is run against four servers on one relay (tests/lab/sshds.py). ``Attack.fences`` says which fence holds
alone; where one does not, the test asserts that too. The rows are those of the table in docs/relay.md.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.lab.attackers import RELAY, RELAY_NAME, STORE, Relay, relay
from tests.lab.sshds import (
    ANYBODYS,
    ATTACKER,
    BOTH,
    KEY,
    SERVER,
    VARIANTS,
    Attack,
    Sshd,
    Variant,
    make_key,
    public_half,
    publish,
    reach,
)

__all__ = ["relay"]

pytestmark = pytest.mark.lab

# The attacker's own address, and one of a sibling whose box is away.
OWN, SIBLING = "127.10.0.17", "127.10.0.19"
OWN_TUNNEL = f"-R {OWN}:10443:127.0.0.1:22 -R {OWN}:10022:127.0.0.1:22"


def reaches_a_sibling(sshd: Sshd) -> bool:
    with sshd.holding("-R 127.10.0.18:10443:127.0.0.1:22", key="schmidt"):
        return "SSH" in sshd.run("ssh {options} -W 127.10.0.18:10443 {account} </dev/null")


def takes_a_siblings_socket(sshd: Sshd) -> bool:
    socket = "-R /tmp/sibling.sock:127.0.0.1:22"
    with sshd.holding(socket, key="schmidt"):
        return sshd.holds(socket)


# What a server of HTTPS answers in clear to whoever does not speak TLS.
ASK, ANSWER = "GET / HTTP/1.0\\r\\n\\r\\n", "400 Bad Request"


def store(place: str, key: str, fences: frozenset[str] = BOTH) -> Attack:
    """Reach a store's port with a household's key."""
    command = f"printf '{ASK}' | ssh {{options}} -W {place} {{account}}"
    return Attack(25, f"-W {place} by {key}", lambda sshd: ANSWER in sshd.run(command, key), fences)


ATTACKS = [
    *ANYBODYS,
    publish(3, f"{SIBLING}:10443:127.0.0.1:22", KEY),
    publish(3, f"{SIBLING}:10022:127.0.0.1:22", KEY),
    publish(3, f"{SIBLING}:10444:127.0.0.1:22"),
    *(publish(4, f"{place}:10443:127.0.0.1:22") for place in ("0.0.0.0", "*", "", "[::]", "localhost", "127.0.0.1")),  # noqa: S104
    publish(5, f"{OWN}:10444:127.0.0.1:22"),
    publish(5, f"{OWN}:0:127.0.0.1:22"),
    publish(5, f"{OWN}:1080"),
    Attack(6, "a sibling's Unix socket", takes_a_siblings_socket, SERVER),
    *(reach(7, target) for target in ("127.0.0.1:2222", "127.0.0.1:9212", "127.0.0.1:7777", "[::1]:7777")),
    Attack(7, "-W to a sibling's live tunnel", reaches_a_sibling),
    *(store(place, "schmidt", KEY) for place in STORE),
    *(store(place.replace("127.0.0.1", "localhost"), "mueller") for place in STORE),
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_household_may_publish_its_own_two_ports_on_each_server(relay: Relay, variant: Variant) -> None:
    assert relay.sshd(variant).holds(OWN_TUNNEL)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_household_reaches_the_two_ports_of_its_own_store_on_each_server(relay: Relay, variant: Variant) -> None:
    assert all(store(place, "mueller").works(relay.sshd(variant)) for place in STORE)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_an_attack_is_refused_by_both_fences_and_by_each_that_claims_to(
    relay: Relay, attack: Attack, variant: Variant
) -> None:
    assert attack.is_refused_as_it_shall_be(relay.sshd(variant))


def listeners(relay: Relay, address: str) -> set[int]:
    """The ports on which something listens at a household's address."""
    lines = relay.lab.exec(RELAY, ["ss", "-Hltn", "src", address]).stdout.splitlines()
    return {int(line.split()[3].rsplit(":", 1)[1]) for line in lines}


def test_a_tunnels_key_opens_no_operators_account(relay: Relay) -> None:
    """Row 13: the operators' sshd reads other files; with the key in one of them it would open."""
    login = "ssh {options} -p 2222 anna@{host} id"
    hardened, keys = relay.sshd("hardened"), "/etc/ssh/hearth-keys/anna"
    # The first -p would win.
    login = login.replace("{options}", "-p 2222 {options}")
    assert hardened.run(login) == ""
    before = relay.lab.exec(RELAY, ["cat", keys]).stdout
    mine = relay.lab.exec(ATTACKER, ["cat", "/root/keys/mueller.pub"]).stdout
    relay.lab.exec(RELAY, ["tee", keys], stdin=before + mine)
    try:
        assert "(anna)" in hardened.run(login)
    finally:
        relay.lab.exec(RELAY, ["tee", keys], stdin=before)


def test_an_operator_reaches_households_sshd_through_the_relay_and_nothing_else(relay: Relay) -> None:
    """The other half of row 7: the operators' sshd forwards to port 10022 alone."""
    hardened = relay.sshd("hardened")
    program, *options = relay.lab.ssh_command(RELAY)

    def banner(target: str) -> str:
        return subprocess.run(
            [program, "-W", target, *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        ).stdout

    with hardened.holding(OWN_TUNNEL) as granted:
        assert granted
        assert banner(f"{OWN}:10022").startswith("SSH-2.0")
        for target in (f"{OWN}:10443", "127.0.0.1:7777", "127.0.0.1:9212", "203.0.113.7:7777"):
            assert banner(target) == ""


def test_a_second_client_with_the_same_key_is_refused_and_the_log_names_the_address(relay: Relay) -> None:
    """Row 15. That a first client may, is the control; and the address is free as soon as it has gone."""
    hardened = relay.sshd("hardened")
    with hardened.holding(OWN_TUNNEL) as granted:
        assert granted
        assert not hardened.holds(OWN_TUNNEL)
    told = relay.lab.exec(RELAY, ["journalctl", "--namespace=hearth-tunnel", "--output=cat", "--lines=40"]).stdout
    assert f"bind [{OWN}]:10443: Address already in use" in told
    assert hardened.holds(OWN_TUNNEL)


def test_a_flood_from_one_address_is_held_back_and_the_others_get_in(relay: Relay) -> None:
    """Row 19: the naive server's port is open in the firewall without a limit."""
    flood = (
        "n=0; for i in $(seq 130); do exec {fd}<>/dev/tcp/{host}/PORT && n=$((n+1)); done; echo $n; "
        "ssh {options} -b 198.51.100.250 -N -f -M -S /run/other.sock {account} && echo others-get-in; "
        "ssh -S /run/other.sock -O exit any"
    )
    relay.lab.exec(ATTACKER, ["ip", "address", "replace", "198.51.100.250/24", "dev", "eth0"])
    hardened = relay.sshd("hardened").run(flood.replace("PORT", "9212")).split()
    naive = relay.sshd("naive").run(flood.replace("PORT", "9215")).split()
    assert naive == ["130", "others-get-in"]
    assert 90 <= int(hardened[0]) <= 100
    assert hardened[1:] == ["others-get-in"]


# SOCKS 4a's question for 127.0.0.1:22, and the first bytes of what comes back behind its eight of answer.
SOCKS = (
    "import socket; s = socket.create_connection(('127.10.0.17', 1080)); "
    "s.sendall(bytes([4, 1, 0, 22, 127, 0, 0, 1, 0])); s.settimeout(5); "
    "print(s.recv(8)[1], s.makefile('rb').readline())"
)


def test_from_the_relay_only_the_two_published_ports_of_a_box_are_found(relay: Relay) -> None:
    """Row 22: what a box forwards is fixed; a remote SOCKS, which the naive server grants, opens all of it."""
    hardened, naive = relay.sshd("hardened"), relay.sshd("naive")
    with hardened.holding(OWN_TUNNEL) as granted:
        assert granted
        assert listeners(relay, OWN) == {10443, 10022}
    with naive.holding(f"-R {OWN}:1080") as granted:
        assert granted
        assert relay.lab.exec(RELAY, ["python3", "-c", SOCKS]).stdout.startswith("90 b'SSH-2.0")


def test_a_box_does_not_talk_to_a_relay_with_another_host_key(relay: Relay) -> None:
    """Row 23: the naive server stands in for the relay of somebody else; a client that pins nothing is the control."""
    public = relay.lab.exec(RELAY, ["cat", "/etc/ssh/hearth-tunnel/ssh_host_ed25519_key.pub"]).stdout
    lines = "".join(f"[{RELAY_NAME}]:{port} {public}" for port in (9212, 9215))
    relay.lab.exec(ATTACKER, ["tee", "/root/pinned"], stdin=lines)
    # The first of several values of an option wins.
    pinned = "-o UserKnownHostsFile=/root/pinned -o StrictHostKeyChecking=yes"
    login = f"ssh {pinned} {{options}} -f -N -M -S /run/attack.sock {{account}} && echo connected"
    assert relay.sshd("hardened").run(login) == "connected\n"
    assert relay.sshd("naive").run(login) == ""
    assert relay.sshd("naive").run(login.replace(pinned, "")) == "connected\n"


def test_keys_that_others_can_write_are_not_read(relay: Relay) -> None:
    """Row 24: root's folder, and StrictModes should that ever fail."""
    account = ["runuser", "-u", "hearth-tunnel", "--", "test", "-w"]
    for path in ("/etc/ssh/tunnel-keys/hearth-tunnel", "/etc/ssh/tunnel-keys", "/etc/ssh/hearth-tunnel/sshd_config"):
        assert relay.lab.exec(RELAY, [*account, path], check=False).returncode == 1
    strict, naive = relay.sshd("server"), relay.sshd("naive")
    assert strict.holds(OWN_TUNNEL)
    for sshd, folder, works in ((strict, "server", False), (naive, "naive", True)):
        relay.lab.exec(RELAY, ["chmod", "-R", "go+w", f"/etc/ssh/lab/{folder}"])
        try:
            assert sshd.holds(OWN_TUNNEL) is works
        finally:
            relay.lab.exec(RELAY, ["chmod", "-R", "go-w", f"/etc/ssh/lab/{folder}"])


def test_tunnels_outlive_a_restart_of_their_sshd_and_do_not_need_the_operators(relay: Relay) -> None:
    hardened = relay.sshd("hardened")
    with hardened.holding(OWN_TUNNEL) as granted:
        assert granted
        relay.lab.exec(RELAY, ["systemctl", "restart", "hearth-tunnel-sshd"])
        assert listeners(relay, OWN) == {10443, 10022}
        relay.lab.exec(RELAY, ["systemctl", "stop", "ssh"])
        try:
            assert hardened.holds("-R 127.10.0.18:10443:127.0.0.1:22", key="schmidt")
        finally:
            relay.lab.exec(RELAY, ["systemctl", "start", "ssh"])


def test_a_removed_household_loses_its_key_and_its_live_session_and_the_others_notice_nothing(relay: Relay) -> None:
    """Row 16; the naive server, whose keys somebody edits by hand, keeps the session: that is the control."""
    hardened, naive = relay.sshd("hardened"), relay.sshd("naive")
    siblings = "-R 127.10.0.18:10443:127.0.0.1:22"
    idle = "-R 127.10.0.18:10022:127.0.0.1:22"
    schmidt = public_half(relay.lab, "schmidt")
    with hardened.holding(OWN_TUNNEL) as own, hardened.holding(siblings, "schmidt"), naive.holding(idle, "schmidt"):
        assert own
        before = relay.lab.exec(RELAY, ["ss", "-Hltnp", "src", OWN]).stdout
        assert listeners(relay, "127.10.0.18") == {10443, 10022}
        relay.tell("schmidt", None)
        run = relay.converge()
        assert run.status == 0, run.output[-4000:]
        assert "schmidt from 198.51.100" in run.output
        assert listeners(relay, "127.10.0.18") == {10022}
        assert relay.lab.exec(RELAY, ["ss", "-Hltnp", "src", OWN]).stdout == before
        assert not hardened.holds(siblings, key="schmidt")
        assert relay.converge().changed == ["Firewall | See that the firewall is loaded"]
    relay.tell("schmidt", schmidt)
    assert relay.converge().status == 0
    assert hardened.holds(siblings, key="schmidt")


def test_a_household_with_a_new_key_loses_the_session_of_its_old_one(relay: Relay) -> None:
    hardened = relay.sshd("hardened")
    siblings = "-R 127.10.0.18:10443:127.0.0.1:22"
    schmidt = public_half(relay.lab, "schmidt")
    new = make_key(relay.lab, "new")
    try:
        with hardened.holding(siblings, key="schmidt") as granted:
            assert granted
            relay.tell("schmidt", new)
            assert relay.converge().status == 0
            assert listeners(relay, "127.10.0.18") == set()
            assert hardened.holds(siblings, key="new")
            assert not hardened.holds(siblings, key="schmidt")
    finally:
        relay.tell("schmidt", schmidt)
        relay.converge()


def test_a_session_is_ended_by_the_next_converge_when_this_one_died_before_it(relay: Relay) -> None:
    """The key file is there, and nobody has ended sessions yet: what a killed converge leaves behind."""
    hardened, keys = relay.sshd("hardened"), "/etc/ssh/tunnel-keys/hearth-tunnel"
    text = relay.lab.exec(RELAY, ["cat", keys]).stdout
    with hardened.holding("-R 127.10.0.18:10443:127.0.0.1:22", key="schmidt") as granted:
        assert granted
        without = "".join(line for line in text.splitlines(keepends=True) if "schmidt" not in line)
        relay.lab.exec(RELAY, ["tee", keys], stdin=without)
        told = relay.lab.exec(RELAY, ["/usr/lib/hearth/tunnel-sessions", "status"]).stdout
        assert "end schmidt from 198.51.100" in told
        assert "unrecorded" in told
        relay.lab.exec(RELAY, ["/usr/lib/hearth/tunnel-sessions", "end"])
        assert relay.lab.exec(RELAY, ["/usr/lib/hearth/tunnel-sessions", "status"]).stdout == ""
        assert listeners(relay, "127.10.0.18") == set()
    relay.lab.exec(RELAY, ["tee", keys], stdin=text)
    relay.lab.exec(RELAY, ["/usr/lib/hearth/tunnel-sessions", "end"])


def test_converging_a_relay_again_changes_nothing(relay: Relay) -> None:
    relay.converge()
    run = relay.operator.converge(limit=RELAY, deploy="deploys/relay.py")
    # The tests' own opening of the firewall is what the first of the two has mended.
    assert run.changed == ["Firewall | See that the firewall is loaded"]
    again = relay.operator.converge(limit=RELAY, deploy="deploys/relay.py")
    assert again.status == 0
    assert len(again.results) > 20
    assert again.changed == []

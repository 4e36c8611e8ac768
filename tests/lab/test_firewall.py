"""The firewall on a real kernel: an operator who shuts himself out is let in again, and IPv6 has limits as well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.boxes import RELAY, VISITOR, Converge, Operator, wait_for

pytestmark = pytest.mark.lab

CHANGE = "Firewall | Close every port but those that are named"
# What the operator's road in consists of; the firewall with the services that a test wants comes behind it.
DEPLOY = """
from pyinfra import host

from hearth import artefacts, packages
from roles import base, firewall, sshd

relay = host.data.get("relay")
packages.installed(
    name="Install the packages", names=(*base.PACKAGES, *sshd.PACKAGES, *firewall.PACKAGES, "python3-minimal")
)
artefacts.bootstrap()
base.base(relay)
sshd.sshd(relay)
"""
NOBODY_OF_OURS = "firewall.tunnels(9212)"
OPERATORS_TOO = f"firewall.operators_ssh(relay.ssh_port), {NOBODY_OF_OURS}"

LIMITED, UNLIMITED, CLOSED = 9212, 9213, 7777
HELD = 100
"""What firewall.tunnels allows a source at a time."""

# Something that listens on each port, over IPv6 as well.
LISTEN = """
import socket, sys, threading

def serve(port):
    server, held = socket.create_server(("::", port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True), []
    while True:
        held.append(server.accept()[0])
        held[-1].sendall(b"in")

for port in sys.argv[1:]:
    threading.Thread(target=serve, args=(int(port),)).start()
"""
# Ask for `each` connections from every source, hold them all, and count for each source those that were let in.
KNOCK = """
import json, socket, sys
relay, port, each, *sources = sys.argv[1:]
held, counts = [], {}
for source in sources:
    counts[source] = 0
    for _ in range(int(each)):
        try:
            line = socket.create_connection((relay, int(port)), timeout=2, source_address=(source, 0))
            line.settimeout(2)
            counts[source] += line.recv(2) == b"in"
            held.append(line)
        except OSError:
            pass
print(json.dumps(counts))
"""

# Two addresses of one household's network, and one of another's.
RELAY6, OURS, OURS_TOO, NEIGHBOURS = "fd00:db8::1", "fd00:db8:0:1::2", "fd00:db8:0:1::3", "fd00:db8:0:2::2"


@dataclass(frozen=True)
class Relay:
    """A relay that has an operator's sshd and a firewall, and nothing else."""

    operator: Operator
    folder: Path

    def on(self, script: str, check: bool = True) -> str:
        return self.operator.lab.exec(RELAY, ["sh", "-c", script], check=check).stdout

    def converge(self, services: str = "") -> Converge:
        """Converge with a firewall for ``services``, as a deploy file says them; without one when there are none."""
        deploy = self.folder / "relay.py"
        deploy.write_text(DEPLOY + (f"firewall.firewall(({services},))\n" if services else ""))
        return self.operator.converge(limit=RELAY, deploy=str(deploy))

    def knock(self, port: int, each: int, *sources: str) -> dict[str, int]:
        """How many connections from each source are let in, all held at once."""
        argv = ["python3", "-c", KNOCK, RELAY6, str(port), str(each), *sources]
        found: dict[str, int] = json.loads(self.operator.lab.exec(VISITOR, argv).stdout)
        return found


@pytest.fixture(scope="module")
def relay(bare_relay: Operator, tmp_path_factory: pytest.TempPathFactory) -> Relay:
    """A bare relay."""
    return Relay(bare_relay, tmp_path_factory.mktemp("firewall"))


def shut_out_and_let_in_again(run: Converge) -> bool:
    """Whether the converge failed because of the firewall, and the host went back by itself."""
    return (
        run.status != 0
        and "the operator could not log in anew" in run.output
        and "the host has undone the change by itself and answers again" in run.output
    )


def test_a_first_firewall_without_the_operators_port_is_taken_away_again(relay: Relay) -> None:
    assert relay.converge().status == 0
    run = relay.converge(NOBODY_OF_OURS)
    assert shut_out_and_let_in_again(run), run.output[-4000:]
    assert relay.on("nft list tables") == ""
    assert relay.on("test ! -e /etc/hearth/firewall.nft && echo gone") == "gone\n"


def test_a_firewall_that_forgets_the_operators_port_goes_back_to_the_one_that_has_it(relay: Relay) -> None:
    good = relay.converge(OPERATORS_TOO)
    assert good.status == 0, good.output[-4000:]
    rules = relay.on("nft --stateless --terse list table inet hearth")
    assert "tcp dport 2222 jump ssh" in rules
    run = relay.converge(NOBODY_OF_OURS)
    assert shut_out_and_let_in_again(run), run.output[-4000:]
    assert relay.on("nft --stateless --terse list table inet hearth") == rules
    assert relay.converge(OPERATORS_TOO).changed == []


@pytest.fixture
def over_ipv6(relay: Relay) -> Iterator[Relay]:
    """The relay with its firewall and listeners, reached over IPv6 from two networks; one port has no limits."""
    lab = relay.operator.lab
    tools = "command -v python3 >/dev/null || { apt-get -qq update && apt-get -qqy install python3-minimal; }"
    lab.exec(VISITOR, ["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", tools], timeout_s=300)
    run = relay.converge(OPERATORS_TOO)
    assert run.status == 0, run.output[-4000:]
    lab.exec(RELAY, ["tee", "/root/listen.py"], stdin=LISTEN)
    relay.on(f"nft insert rule inet hearth input tcp dport {UNLIMITED} accept")
    relay.on(f"systemd-run --quiet --unit=listeners python3 /root/listen.py {LIMITED} {UNLIMITED} {CLOSED}")
    # All on one link, as in an internet exchange: wide prefixes, so that nobody needs a route.
    addresses = {RELAY: [RELAY6], VISITOR: [OURS, OURS_TOO, NEIGHBOURS]}
    try:
        for host, own in addresses.items():
            for address in own:
                lab.exec(host, ["ip", "address", "add", f"{address}/48", "dev", "eth0", "nodad"])
        wait_for(lambda: str(CLOSED) in relay.on("ss -Hltn"), 20, "the listeners")
        yield relay
    finally:
        for host, own in addresses.items():
            for address in own:
                lab.exec(host, ["ip", "address", "del", f"{address}/48", "dev", "eth0"], check=False)
        relay.on("systemctl stop listeners")


def test_an_ipv6_network_has_one_share_however_many_addresses_it_uses(over_ipv6: Relay) -> None:
    """The controls: a port without limits takes all of them, and another network gets in meanwhile."""
    each = HELD * 2 // 3
    assert over_ipv6.knock(UNLIMITED, each, OURS, OURS_TOO) == {OURS: each, OURS_TOO: each}
    counts = over_ipv6.knock(LIMITED, each, OURS, OURS_TOO, NEIGHBOURS)
    assert counts[OURS] == each
    assert counts[OURS] + counts[OURS_TOO] == HELD
    assert counts[NEIGHBOURS] == each


def test_what_nobody_named_is_closed_over_ipv6_too(over_ipv6: Relay) -> None:
    assert over_ipv6.knock(CLOSED, 1, OURS) == {OURS: 0}
    over_ipv6.on(f"nft insert rule inet hearth input tcp dport {CLOSED} accept")
    assert over_ipv6.knock(CLOSED, 1, OURS) == {OURS: 1}, "the control: it was the firewall"

"""Visitors who come without the relay: by ports that the box asks its router for, or that somebody forwarded by hand.

The router is a real miniupnpd, the zone's server a real BIND. The tests follow each other, as in a household's life:
the router is asked for ports (the box keeps its tunnel for the operator), the household forwards them by hand, it does
without the relay altogether, and comes back to it. Another address of the home cuts the tunnel for half a minute, so it
comes where no converge waits for it.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hearth.inventory import load_or_raise
from hearth.lab.lab import Lab
from tests.lab.boxes import DOMAIN, MUELLER, RELAY, Converge, Operator, wait_for
from tests.lab.homes import (
    ADDRESS,
    HEARTH,
    TRUSTED,
    VISITOR,
    collect,
    collected,
    converged,
    from_outside,
    tunnel_is_up,
)

pytestmark = pytest.mark.lab

SCHMIDT = "schmidt.home.example"
ROUTER_PORT, DYNAMIC_DNS = "hearth-router-port.service", "hearth-dynamic-dns.service"
SEEN = "router port | See that the home's router leads visitors here"
PUBLISHED = f"dynamic DNS | See that {DOMAIN} leads here"
OTHER_MACHINE = "192.168.1.20"
ACME_ROOTS = "/root/acme-roots.pem"
# The timer fires each minute; a certificate comes a minute after the ports, since a home may hide its own name.
FOLLOWS_S = 150
EVERYTHING = (
    "/usr/lib/hearth/router-port /usr/lib/hearth/dynamic-dns /etc/hearth/router-port.toml /etc/hearth/dynamic-dns.toml "
    "/etc/hearth/dns /var/lib/hearth/router-port /var/lib/hearth/dynamic-dns /etc/sysusers.d/hearth-router.conf "
    "/etc/sysusers.d/hearth-dns.conf /etc/systemd/system/hearth-router-port.* /etc/systemd/system/hearth-dynamic-dns.* "
    "/etc/systemd/system/timers.target.wants/hearth-router-port.timer "
    "/etc/systemd/system/timers.target.wants/hearth-dynamic-dns.timer"
)


@dataclass
class Direct:
    """A household that visitors reach without the relay; ``operator`` has the inventory that says how just now."""

    operator: Operator
    folder: Path
    own_address: str

    @property
    def lab(self) -> Lab:
        return self.operator.lab

    def on_box(self, script: str, check: bool = True) -> str:
        return self.lab.exec(MUELLER, ["sh", "-c", script], check=check, timeout_s=120).stdout

    def change(self, name: str, **values: Any) -> Converge:
        """Change the household's file (None removes a property), and converge the box."""

        def change(fleet: dict[str, Any], household: dict[str, Any]) -> None:
            household.update(values)
            for key in [key for key, value in values.items() if value is None]:
                del household[key]

        self.operator = self.operator.with_fleet(self.folder / name, change)
        return self.operator.converge()

    def run(self, unit: str) -> str:
        """Start a unit as its timer does; what it said in the journal when it failed, else nothing."""
        done = self.lab.exec(MUELLER, ["systemctl", "start", unit], check=False, timeout_s=120)
        if done.returncode == 0:
            return ""
        assert self.on_box(f"systemctl is-failed {unit}").strip() == "failed"
        identity = self.on_box(f"systemctl show --property=InvocationID --value {unit}").strip()
        return self.on_box(f"journalctl _SYSTEMD_INVOCATION_ID={identity} -o cat")

    def mappings(self) -> dict[int, str]:
        """What the router says that it leads where."""
        listed = self.on_box("upnpc -l")
        return {int(port): place for port, place in re.findall(r"TCP +(\d+)->([0-9.]+:\d+)", listed)}

    def address(self) -> tuple[str, ...]:
        """What the zone's server says of the household's name."""
        return self.lab.resolve(DOMAIN)

    def visit(self, roots: str = TRUSTED) -> str:
        """What the visitor sees, who asks the DNS for the name."""
        command = from_outside("/status.php", "--max-time", "10", "--write-out", " from %{remote_ip}")
        command[command.index("--cacert") + 1] = roots
        return self.lab.exec(VISITOR, command, check=False).stdout

    def moves(self, address: str) -> None:
        """The provider gives the home another address, and the box has looked."""
        self.lab.readdress(MUELLER, address)
        assert self.run(DYNAMIC_DNS) == ""


@pytest.fixture(scope="module")
def direct(home: Operator, visitor: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Direct]:
    """A household whose box asks its router for ports and tells the zone's server its address."""
    lab = home.lab
    own = next(one.public_address for one in lab.status() if one.name == MUELLER)
    lab.set_router(MUELLER, (), "on")
    household = Direct(home, tmp_path_factory.mktemp("direct"), own)
    first = household.change("upnp", access="upnp", certificates={"issuer": "operator"})
    converged(first)
    collected(collect(household.operator, "mueller"))
    lab.publish(key_record(household.operator))
    second = household.operator.converge()
    converged(second)
    # Its timer may have been there first.
    assert PUBLISHED in second.results
    assert set(second.changed) <= {PUBLISHED}
    yield household
    lab.readdress(MUELLER, own)
    lab.set_router(MUELLER, (), "off")
    lab.publish(f"{DOMAIN}. 60 IN A {lab.public_address(RELAY)}")


def key_record(operator: Operator) -> str:
    """The line of the box's key that ``hearth zone`` prints for the operator's zone."""
    printed = subprocess.run(
        [str(HEARTH), "zone", "--inventory", str(operator.inventory)], capture_output=True, text=True, check=True
    ).stdout
    [line] = [line for line in printed.splitlines() if line.startswith(f"{DOMAIN}. ") and " KEY " in line]
    return line.partition(" ; ")[0]


def test_a_visitor_comes_in_by_the_ports_that_the_router_opened(direct: Direct) -> None:
    assert direct.mappings() == {80: "192.168.1.10:80", 443: "192.168.1.10:443"}
    assert direct.address() == (direct.own_address,)
    seen = direct.visit()
    assert '"installed":true' in seen
    assert f"from {direct.own_address}" in seen
    log = direct.on_box("tail -n 1 /var/log/apache2/hearth-access.log")
    assert log.startswith(f"{direct.lab.public_address(VISITOR)} ")


def test_the_tunnel_stays_for_the_operator_alone(direct: Direct) -> None:
    assert tunnel_is_up(direct.lab)
    assert ADDRESS not in direct.lab.exec(RELAY, ["ss", "-Hltn", "sport = :10443"]).stdout


def test_converging_again_changes_nothing(direct: Direct) -> None:
    run = direct.operator.converge()
    assert (run.status, run.changed) == (0, [])
    assert len(run.results) > 20


def test_the_key_for_updates_stays_on_the_box(direct: Direct) -> None:
    private = direct.on_box("sed -n 's/^PrivateKey: //p' /etc/hearth/dns/K*.private").strip()
    assert len(private) > 40
    everything = [path for path in direct.operator.inventory.rglob("*") if path.is_file()]
    assert not [path for path in everything if private.encode() in path.read_bytes()]
    assert direct.on_box("stat -c '%U %G %a' /etc/hearth/dns/K*.private") == "root hearth-dns 640\n"
    told = json.loads(direct.on_box("cat /var/lib/hearth/dynamic-dns/state.json"))
    assert (told["address"], told["sentence"]) == (direct.own_address, None)


def test_a_siblings_name_cannot_be_changed_with_this_boxs_key(direct: Direct) -> None:
    before = direct.lab.resolve(SCHMIDT)
    asked = (
        f"printf 'server ns.hearth.lab\\nzone home.example\\nupdate delete {SCHMIDT} A\\n"
        f"update add {SCHMIDT} 60 A 198.51.100.66\\nsend\\n' | nsupdate -k /etc/hearth/dns/K*.private 2>&1"
    )
    assert "REFUSED" in direct.on_box(asked, check=False)
    assert direct.lab.resolve(SCHMIDT) == before
    # The same request for its own name is taken: it was not refused for another reason.
    direct.on_box(asked.replace(SCHMIDT, DOMAIN))
    assert direct.address() == ("198.51.100.66",)
    assert direct.run(DYNAMIC_DNS) == ""
    assert direct.address() == (direct.own_address,)


def test_a_key_of_the_operators_is_used_instead_and_its_refusal_told(direct: Direct) -> None:
    """The server of the lab does not know this TSIG key."""
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    put = ["install", "-m", "640", "-g", "hearth-dns", "/dev/stdin", "/etc/hearth/dns/tsig.key"]
    text = f'key "{DOMAIN}" {{ algorithm hmac-sha256; secret "{secret}"; }};\n'
    direct.lab.exec(MUELLER, put, stdin=text)
    direct.lab.publish(f"{DOMAIN}. 60 IN A 198.51.100.66")
    try:
        assert "does not take the key in /etc/hearth/dns/tsig.key" in direct.run(DYNAMIC_DNS)
    finally:
        direct.on_box("rm /etc/hearth/dns/tsig.key")
    assert direct.run(DYNAMIC_DNS) == ""
    assert direct.address() == (direct.own_address,)


def test_a_port_of_another_machine_is_left_to_it(direct: Direct) -> None:
    """The household's music box has asked the router for port 443 first."""
    direct.on_box(
        "systemctl stop hearth-router-port.timer && upnpc -d 443 TCP >/dev/null && "
        f"ip address add {OTHER_MACHINE}/24 dev eth0 && ip route change 192.168.1.0/24 dev eth0 src {OTHER_MACHINE} && "
        f"upnpc -e music -a {OTHER_MACHINE} 443 443 TCP 3600; "
        f"ip route change 192.168.1.0/24 dev eth0 src 192.168.1.10; ip address del {OTHER_MACHINE}/24 dev eth0"
    )
    said = direct.run(ROUTER_PORT)
    assert f"leads port 443 to another machine, {OTHER_MACHINE}" in said
    assert direct.mappings()[443] == f"{OTHER_MACHINE}:443"
    assert direct.mappings()[80] == "192.168.1.10:80"


def test_a_router_that_refuses_fails_the_converge_with_a_sentence_and_nothing_else_of_it(direct: Direct) -> None:
    direct.lab.set_router(MUELLER, (), "refuse")
    assert "the router refuses port 443" in direct.run(ROUTER_PORT)
    run = direct.operator.converge()
    assert run.status != 0
    assert "the router refuses port 80" in run.output
    assert "set access: relay" in run.output
    # A run that fails prints no table; everything before it went through, the stopped timer included.
    assert run.output.index("See that every service runs") < run.output.index("leads visitors here")
    assert direct.on_box("systemctl is-active hearth-router-port.timer") == "active\n"
    told = json.loads(direct.on_box("cat /var/lib/hearth/router-port/state.json"))
    assert (told["mapped"], sorted(told["refused"])) == ([], ["443", "80"])


def test_a_router_that_is_not_there_is_told(direct: Direct) -> None:
    direct.lab.set_router(MUELLER, (), "off")
    assert "does not answer by UPnP: switch UPnP on in it" in direct.run(ROUTER_PORT)


def test_ports_forwarded_by_hand_serve_visitors_too_with_a_certificate_by_acme(direct: Direct) -> None:
    """The router was asked before, and gets its ports back; the relay tells the box its address."""
    direct.lab.set_router(MUELLER, (), "on")
    assert direct.run(ROUTER_PORT) == ""
    direct.lab.publish(f"{DOMAIN}. 60 IN A 198.51.100.66")
    run = direct.change("forwarded", access="forwarded", certificates={"issuer": "acme"})
    converged(run)
    assert "the router leads 443, 80 to this box no more" in run.output.replace("80, 443", "443, 80")
    assert direct.mappings() == {}
    direct.lab.set_router(MUELLER, (80, 443), "off")
    assert direct.run(DYNAMIC_DNS) == ""
    assert direct.address() == (direct.own_address,)
    direct.lab.exec(VISITOR, ["tee", ACME_ROOTS], stdin=direct.lab.acme_roots())
    wait_for(lambda: '"installed":true' in direct.visit(ACME_ROOTS), FOLLOWS_S, "the certificate by ACME")


def test_the_name_follows_a_home_whose_ports_are_forwarded(direct: Direct) -> None:
    direct.moves("198.51.100.78")
    assert direct.address() == ("198.51.100.78",)
    assert '"installed":true' in direct.visit(ACME_ROOTS)
    direct.moves(direct.own_address)
    assert direct.address() == (direct.own_address,)


def test_the_relay_tells_an_asker_his_address_and_every_other_page_moves_to_https(direct: Direct) -> None:
    page = f"http://{load_or_raise(direct.operator.inventory).relays[0].address}/.well-known/hearth/address"
    answered = direct.lab.exec(VISITOR, ["curl", "--silent", page]).stdout
    assert answered == f"{direct.lab.public_address(VISITOR)}\n"
    code = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]
    for path in ("", "/", "/x"):
        assert direct.lab.exec(VISITOR, [*code, f"{page}{path}"]).stdout == ("404" if path else "200")


def test_without_a_relay_the_operators_ssh_is_reached_at_the_name(direct: Direct) -> None:
    """The operator's own machine is on the bench here: the lab's internet is not its."""
    direct.lab.set_router(MUELLER, (), "on")
    direct.lab.bench(MUELLER, True)
    alone: dict[str, Any] = {"relay": None, "backup": {"enabled": False}}
    run = direct.change("alone", access="upnp", certificates={"issuer": "operator"}, **alone)
    converged(run)
    assert run.output.index("Ask the home's router for ports") < run.output.index("Open no tunnel")
    assert direct.mappings() == {port: f"192.168.1.10:{port}" for port in (80, 443, 2222)}
    knock = f"timeout 5 bash -c 'exec 3<>/dev/tcp/{DOMAIN}/2222; head -c 8 <&3'"
    assert direct.lab.exec(VISITOR, ["sh", "-c", knock]).stdout == "SSH-2.0-"
    assert direct.on_box("systemctl is-active hearth-tunnel", check=False) == "inactive\n"


def test_the_name_follows_the_home_to_another_address(direct: Direct) -> None:
    """By itself: the timer looks each minute."""
    direct.lab.readdress(MUELLER, "198.51.100.77")
    wait_for(lambda: direct.address() == ("198.51.100.77",), FOLLOWS_S, "the name to follow")
    assert "from 198.51.100.77" in direct.visit()
    direct.moves(direct.own_address)
    assert f"from {direct.own_address}" in direct.visit()


def test_behind_the_providers_nat_the_relay_is_recommended_and_no_false_address_published(direct: Direct) -> None:
    direct.lab.readdress(MUELLER, "100.64.0.7")
    try:
        for unit in (ROUTER_PORT, DYNAMIC_DNS):
            said = direct.run(unit)
            assert "100.64.0.7 is not public" in said
            assert "set access: relay" in said
        assert direct.address() == (direct.own_address,)
    finally:
        direct.lab.readdress(MUELLER, direct.own_address)
    assert direct.run(ROUTER_PORT) == ""
    assert direct.run(DYNAMIC_DNS) == ""
    assert '"installed":true' in direct.visit()


def test_back_at_the_relay_nothing_of_it_is_left(direct: Direct, home: Operator) -> None:
    back = replace(direct, operator=home)
    converged(run := back.operator.converge())
    assert run.output.index("Keep the tunnel to") < run.output.index("Give the router's ports back")
    wait_for(lambda: tunnel_is_up(direct.lab), 60, "the tunnel")
    assert back.on_box(f"ls -d {EVERYTHING} 2>/dev/null", check=False) == ""
    assert back.mappings() == {}
    units = "hearth-router-port.timer hearth-dynamic-dns.timer hearth-router-port hearth-dynamic-dns"
    assert back.on_box(f"systemctl is-active {units}", check=False).split() == ["inactive"] * 4
    again = back.operator.converge()
    assert (again.status, again.changed) == (0, [])

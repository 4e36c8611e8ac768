"""The lab's map: what stands where, and under which name. Pure: from a lab's name and the fleet to plain data.

    the world ── operator's machine ── uplink ── internet 198.51.100.0/24 ─┬─ relay1, visitor
                        │                                                 ├─ releases, ns, acme (.hearth.lab)
                        │                                                 ├─ router ─ 192.168.1.0/24 ─ box-mueller
                        │                                                 ├─ router ─ 192.168.1.0/24 ─ box-schmidt
                      bench 10.213.N.0/25                                 ├─ router (9212, 22999) ──── pi1
                  (one isolated port a host)                              └─ router ─ …  helper-pc, oma-pc

Everything but the bench and one end of the uplink lives in network namespaces of the lab's own, so the ranges inside
repeat from lab to lab (and from home to home, as they do in life). What stands in the machine's own namespace carries
names derived from the lab's name, so that it can be found and removed without any record of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Literal

from hearth.inventory.hosts import Fleet
from hearth.inventory.model import Household
from hearth.lab.process import LabError

Kind = Literal["relay", "store", "pi", "box", "client"]

CLIENTS = ("visitor", "helper-pc", "oma-pc")
AT_HOME_CLIENTS = ("helper-pc", "oma-pc")

LAB_ZONE = "hearth.lab"
RELEASES_NAME = f"releases.{LAB_ZONE}"
ADDRESS_NAME = f"address.{LAB_ZONE}"
"""Where a web page tells whoever asks from which address he comes, as dynamic DNS providers have one."""

NAME_SERVER_NAME = f"ns.{LAB_ZONE}"
ACME_NAME = f"acme.{LAB_ZONE}"
# TEST-NET-2 of RFC 5737, and not the better known TEST-NET-3: some build machines have their package mirror there.
INTERNET_GATEWAY = IPv4Address("198.51.100.1")
RELEASES_ADDRESS = IPv4Address("198.51.100.2")
RESOLVER_ADDRESS = IPv4Address("198.51.100.3")
NAME_SERVER_ADDRESS = IPv4Address("198.51.100.4")
ACME_ADDRESS = IPv4Address("198.51.100.5")
LAB_NAMES = {
    RELEASES_NAME: RELEASES_ADDRESS,
    ADDRESS_NAME: RELEASES_ADDRESS,
    NAME_SERVER_NAME: NAME_SERVER_ADDRESS,
    ACME_NAME: ACME_ADDRESS,
}
CARRIER = IPv4Network("100.64.0.0/10")
"""What carriers give routers that they put behind a NAT of their own (RFC 6598); the lab's has CARRIER_GATEWAY."""

CARRIER_GATEWAY = IPv4Address("100.64.0.1")
HOME_ROUTER = IPv4Address("192.168.1.1")
HOME_HOST = IPv4Address("192.168.1.10")
HIGHEST_HOST = 110
"""Host n has bench address 10.213.N.(10 + n) in a /25, whose last usable address is .126."""

LAB_NUMBERS = range(1, 250)


@dataclass(frozen=True)
class Names:
    """The names of what a lab makes. Link names have at most 15 characters, hence the short hash of the lab's name."""

    lab: str

    @property
    def tag(self) -> str:
        """Six hex digits that stand for the lab where a name must be short."""
        return hashlib.sha256(self.lab.encode()).hexdigest()[:6]

    @property
    def link_prefix(self) -> str:
        """What all of the lab's links in the machine's own network namespace begin with."""
        return f"hl{self.tag}"

    @property
    def bench(self) -> str:
        """The bridge that the operator's side of every bench link hangs on."""
        return f"{self.link_prefix}br"

    @property
    def uplink(self) -> str:
        """The machine's end of the lab's way to the world."""
        return f"{self.link_prefix}up"

    def bench_port(self, number: int) -> str:
        """The bench bridge's port of host ``number``."""
        return f"{self.link_prefix}h{number}"

    def hardware_address(self, number: int, *, bench: bool = False) -> str:
        """The locally administered Ethernet address of host ``number``'s eth0, or of its bench0.

        0: that of the bridge which it hangs on. A bridge that was given none takes the lowest of its ports', so it
        would change as hosts come and go, and whoever knows the gateway by ARP would lose it for half a minute.
        """
        parts = ["02", self.tag[0:2], self.tag[2:4], self.tag[4:6], f"{bench:02x}", f"{number:02x}"]
        return ":".join(parts)

    @property
    def nft_table(self) -> str:
        """The lab's nftables table (family inet) in the machine's own network namespace."""
        return f"hearth_lab_{self.tag}"

    @property
    def namespace_prefix(self) -> str:
        """What all of the lab's network namespaces begin with; no lab's name holds a dot."""
        return f"hl.{self.lab}."

    @property
    def internet(self) -> str:
        """The network namespace of the internet."""
        return f"{self.namespace_prefix}net.internet"

    def router(self, host: str) -> str:
        """The network namespace of the router before ``host``."""
        return f"{self.namespace_prefix}router.{host}"

    def host(self, host: str) -> str:
        """The network namespace of a host."""
        return f"{self.namespace_prefix}host.{host}"

    def machine(self, host: str) -> str:
        """The host's name for systemd-nspawn, unique on the machine."""
        return f"{self.namespace_prefix}{host}"


@dataclass(frozen=True)
class Bench:
    """The operator's side of lab ``number``: who has which address on the bench and on the uplink."""

    number: int

    @property
    def operator(self) -> IPv4Address:
        """The operator's machine as the hosts see it over the bench."""
        return IPv4Address(f"10.213.{self.number}.1")

    def host(self, host_number: int) -> IPv4Address:
        """Where the operator finds a host on the first day."""
        return IPv4Address(f"10.213.{self.number}.{10 + host_number}")

    @property
    def uplink_outside(self) -> IPv4Address:
        """The machine's end of the uplink, a /30 of its own."""
        return IPv4Address(f"10.213.{self.number}.253")

    @property
    def uplink_inside(self) -> IPv4Address:
        """The internet's end of the uplink."""
        return IPv4Address(f"10.213.{self.number}.254")


@dataclass(frozen=True)
class Member:
    """A host that the lab can start.

    ``number`` is its own within the lab and decides its addresses. ``forwards``: TCP ports that the router before it
    passes on; ``upnp``: whether that router lets itself be asked for more. ``names``: what is found at its public
    address (that of its router, if it is at home).
    """

    name: str
    kind: Kind
    number: int
    at_home: bool
    ssh_port: int
    forwards: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    upnp: bool = False

    @property
    def public_address(self) -> IPv4Address:
        """Its own address on the internet, or its router's."""
        return IPv4Address(f"198.51.100.{10 + self.number}")

    @property
    def address(self) -> IPv4Address:
        """The address of its first interface."""
        return HOME_HOST if self.at_home else self.public_address

    @property
    def gateway(self) -> IPv4Address:
        """Its default route."""
        return HOME_ROUTER if self.at_home else INTERNET_GATEWAY


def check_lab_name(name: str) -> str:
    """Return ``name``, or raise ``LabError`` if it cannot name a lab."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", name):
        raise LabError(
            f"{name!r} cannot name a lab: take up to 20 lower-case letters, digits and hyphens, a letter first."
        )
    return name


def members(fleet: Fleet, numbers: Mapping[str, int]) -> tuple[Member, ...]:
    """Every host of the fleet, and the clients. ``numbers``: those given out before, which stay.

    Raises ``LabError`` when the fleet is too large for one lab, or names a host as a client is named.
    """
    given = dict(numbers)
    free = (number for number in range(1, HIGHEST_HOST + 1) if number not in numbers.values())

    def number(name: str) -> int:
        if name not in given:
            given[name] = next(free, 0)
        return given[name]

    def member(name: str, kind: Kind, ssh_port: int, *names: str, forwards: tuple[int, ...] = ()) -> Member:
        at_home = kind in ("box", "pi") or name in AT_HOME_CLIENTS
        return Member(name, kind, number(name), at_home, ssh_port, forwards, names)

    found = (
        *(member(relay.name, "relay", relay.ssh_port, relay.address) for relay in fleet.relays),
        *(member(store.name, "store", store.ssh_port, store.address) for store in fleet.stores if not store.on_relay),
        *(member(pi.name, "pi", pi.ssh_port, pi.address, forwards=(pi.tunnel_port, pi.socks_port)) for pi in fleet.pis),
        *(
            replace(member(house.box, "box", house.ssh_port, forwards=_forwards(house)), upnp=house.access == "upnp")
            for house in fleet.households
        ),
        *(member(client, "client", 22) for client in CLIENTS),
    )
    twice = {one.name for one in found if sum(other.name == one.name for other in found) > 1}
    if twice:
        raise LabError(f"The lab has hosts of its own named {', '.join(CLIENTS)}: rename {min(twice)} in the fleet.")
    if any(one.number == 0 for one in found):
        raise LabError(f"The fleet has more than the {HIGHEST_HOST} hosts that fit into one lab.")
    return found


def _forwards(household: Household) -> tuple[int, ...]:
    """What the person who lives there has told the router to pass on to the box: HTTP, HTTPS and the operator's SSH."""
    return (80, 443, household.ssh_port) if household.access == "forwarded" else ()


def hosts_file(me: Member, everybody: tuple[Member, ...]) -> str:
    """The text of /etc/hosts of ``me``: itself, the lab's servers, and for a host of the fleet its relays and Pis.

    Clients ask the lab's DNS for these, so they see it when an address moves.
    """
    lines = ["127.0.0.1 localhost", f"127.0.1.1 {me.name}", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{address} {name}" for name, address in LAB_NAMES.items()]
    for one in everybody:
        names = [name for name in one.names if not is_address(name)]
        if names and me.kind != "client" and one.name != me.name:
            lines.append(f"{one.public_address} {' '.join(names)}")
    return "\n".join(lines) + "\n"


def resolver(me: Member) -> IPv4Address:
    """The name server that ``me`` asks: a client the lab's DNS, a host of the fleet the machine's.

    The lab's DNS leads to the households, and a box that asked it would meet itself over the relay.
    """
    return NAME_SERVER_ADDRESS if me.kind == "client" else RESOLVER_ADDRESS


def is_address(name: str) -> bool:
    """Whether ``name`` is an IP address, which needs no line in a hosts file."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True

"""Rules of the support Pi: its ports and router pages, who may use SOCKS, and the last days of people's keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from ipaddress import IPv6Address, ip_address

from hearth.inventory.defaults import pi_ports_of
from hearth.inventory.documents import Document, Documents, Found, find
from hearth.inventory.faults import Fault, quoted, suggestion
from hearth.inventory.marks import MarkedDict

# Names that are every host's own; the Pi takes a router's name for the router's address, whatever else it means.
OWN_NAMES = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})


def support_faults(documents: Documents) -> Iterator[Fault]:
    """Yield the faults of everything that makes a support Pi. The documents may break their schemas."""
    fleet = documents.fleet
    yield from _last_days(documents)
    yield from _socks(fleet)
    for pi in find(fleet, "pis.*", MarkedDict):
        yield from _ports(fleet, pi)
    for found in find(fleet, "pis.*.routers.*.address", str):
        sentence = _address_fault(found.value)
        if sentence:
            yield found.fault(sentence)
    for found in find(fleet, "pis.*.routers.*.name", str):
        if found.value in OWN_NAMES or found.value.endswith(".localhost"):
            yield found.fault(f"{quoted(found.value)} is the Pi itself; give the router's own name, or none")
    for routers in find(fleet, "pis.*.routers", list):
        yield from _names(routers)


def _last_days(documents: Documents) -> Iterator[Fault]:
    """Yield the last days that no calendar has.

    One that has passed is no fault: the Pi refuses such a key by itself, and an inventory that was right yesterday must
    not stop somebody's unrelated change today.
    """
    founds = list(find(documents.fleet, "helpers.*.keys.*.until", str))
    founds += [found for each in documents.households for found in find(each, "support.screens.*.key.until", str)]
    for found in founds:
        try:
            has_next = date.fromisoformat(found.value) < date.max
        except ValueError:
            has_next = False
        if len(found.value) == 10 and not has_next:
            yield found.fault(f"there is no day {quoted(found.value)}; give the key's last day as YYYY-MM-DD")


def _socks(fleet: Document) -> Iterator[Fault]:
    """Yield a fault for SOCKS on a Pi that does not exist, or has no router page to show."""
    pis = {name: pi.value for pi in find(fleet, "pis.*", MarkedDict) if isinstance(name := pi.value.get("name"), str)}
    for found in find(fleet, "helpers.*.socks.*", str):
        if found.value not in pis:
            hint = suggestion(found.value, pis) or "; fleet.yaml lists none under pis"
            yield found.fault(f"fleet.yaml has no support Pi {quoted(found.value)}{hint}")
        elif not pis[found.value].get("routers"):
            yield found.fault(f"{found.value} has no router page that SOCKS could reach; list one under its routers")


def _ports(fleet: Document, pi: Found[MarkedDict]) -> Iterator[Fault]:
    ssh, tunnel, socks = pi_ports_of(fleet, pi.value)
    if socks in (ssh, tunnel):
        which = "ssh_port" if socks == ssh else "tunnel_port"
        yield pi.fault(f"the Pi's {which} and socks_port are both {socks}; they need two")


def _address_fault(text: str) -> str | None:
    """What is wrong with a router's address, as a sentence, or None."""
    try:
        address = ip_address(text)
    except ValueError:
        return f"{quoted(text)} is no IP address; give the router's, such as 192.168.1.1"
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return f"{quoted(text)} is an IPv4 address in disguise; write {address.ipv4_mapped}"
    if address.is_loopback or address.is_unspecified:
        return f"{quoted(text)} is the Pi itself, with all screens behind it; SOCKS is for router pages alone"
    if address.is_global or address.is_multicast or address.is_link_local:
        return f"{quoted(text)} does not lie in a home network; SOCKS is for the pages of the Pi's own routers alone"
    # sshd compares what is asked for with what is allowed as texts.
    return None if str(address) == text else f"write the address as browsers ask for it: {address}"


def _names(routers: Found[list[object]]) -> Iterator[Fault]:
    """Yield a fault for each name of a Pi's routers that means two addresses."""
    meant: dict[str, object] = {}
    for router in routers.value:
        if isinstance(router, MarkedDict) and isinstance(name := router.get("name"), str):
            address = router.get("address")
            if meant.setdefault(name, address) != address:
                yield routers._replace(mark=router.values_at["name"]).fault(
                    f"the name {quoted(name)} means {quoted(meant[name])} already; give each router one of its own"
                )

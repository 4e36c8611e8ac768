"""The home's own networks, as the kernel's table of routes tells them."""

from __future__ import annotations

import socket
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

PRIVATE = tuple(IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
ROUTES = Path("/proc/net/route")


def networks(routes: str) -> list[IPv4Network]:
    """Given ``/proc/net/route``, return the private networks that the box is part of: their routes have no gateway."""
    found = []
    for line in routes.splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and words[2] == "00000000" and words[7] != "00000000":
            place, mask = (int.from_bytes(bytes.fromhex(word), sys.byteorder) for word in (words[1], words[7]))
            network = IPv4Network((place, mask.bit_count()))
            if any(network.subnet_of(each) for each in PRIVATE):
                found.append(network)
    return found


def is_at_home(peer: str, routes: str) -> bool:
    """Whether who connects from ``peer`` is on a network of this home's own."""
    try:
        address = IPv4Address(peer)
    except ValueError:
        return False
    return any(address in network for network in networks(routes))


def own_addresses() -> list[str]:
    """The box's addresses on the home's networks."""
    found = set()
    for network in networks(ROUTES.read_text()):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((str(network.network_address + (network.num_addresses > 1)), 9))  # sends nothing
            found.add(probe.getsockname()[0])
    return sorted(found)

"""What the router's files say: pure, from a relay's slice of the fleet to text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network

from hearth import layout
from hearth.inventory.hosts import RelayHost
from hearth.inventory.model import Household
from hearth.render import OWNED, template

FOLDER = "/etc/hearth/router"
CONFIG = f"{FOLDER}/haproxy.cfg"
NETWORK = IPv4Network("127.10.0.0/16")
"""Where the households' tunnels end. An address outside would publish a service of the relay itself."""

WEB_PORTS = (80, 443)
HARD_STOP_AFTER = "6h"


@dataclass(frozen=True)
class Limits:
    """How many connections there may be at a time.

    ``tls``: on 443, and again on all ports of single households. One needs two descriptors and, while data flows, two
    buffers of 16 KiB: 20,000 busy ones are some 700 MiB, and 5,000 households (what one sshd carries) have four each.
    ``per_household``: a household of twenty devices with a sync client and a browser each holds some 250; twice that
    leaves room for a shared album that goes round. Forty households at their limit do not fill the relay.
    ``per_source``: per IPv4 address or IPv6 /64. A household behind one address, or a small office, stays below it; a
    mobile carrier's shared address may not, which is why it is no lower.
    ``http``: redirects last milliseconds.
    """

    tls: int = 20_000
    per_household: int = 512
    per_source: int = 256
    http: int = 1_000
    metrics: int = 10

    @property
    def total(self) -> int:
        """For the whole process; the metrics answer and redirects work while 443 is full."""
        return 2 * self.tls + self.http + self.metrics

    @property
    def descriptors(self) -> int:
        """Two a connection, 40 for the process itself (measured), one for each port that may come to be bound."""
        return 2 * self.total + 40 + 1_000


LIMITS = Limits()


def _through(relay: RelayHost) -> tuple[Household, ...]:
    """The households that visitors reach through the relay, not by a port of their router."""
    return tuple(each for each in relay.households if each.access == "relay" and each.has_name)


def published(relay: RelayHost) -> tuple[Household, ...]:
    """The households that are reached through this relay. Raises ValueError, in one sentence, on what must not be."""
    through = _through(relay)
    reserved = {*WEB_PORTS, layout.METRICS_PORT, layout.HTTPS_TUNNEL_PORT, layout.SSH_TUNNEL_PORT}
    reserved |= {layout.STORE_PORT, layout.STORE_PRUNE_PORT}
    reserved |= {relay.relay.ssh_port, relay.relay.tunnel_port}
    for household in through:
        if household.relay != relay.name:
            raise ValueError(f"{household.id} belongs to {household.relay}, not to {relay.name}")
        if household.tunnel_address not in NETWORK:
            raise ValueError(
                f"{household.id} would be sent to {household.tunnel_address}, outside of the tunnels' {NETWORK}: "
                "give it a slot from 1 to 65534"
            )
        if household.public_port in reserved:
            raise ValueError(
                f"{household.id} cannot have the public port {household.public_port}, "
                f"which {relay.name} needs itself: choose another one"
            )
    _once(through, "address", [str(household.tunnel_address) for household in through])
    _once(through, "domain", [household.domain for household in through])
    _once(through, "public port", [household.public_port for household in through])
    return through


def _once(households: Iterable[Household], what: str, values: Iterable[object]) -> None:
    seen: dict[object, str] = {}
    for household, value in zip(households, values, strict=True):
        if value is not None and seen.setdefault(value, household.id) != household.id:
            raise ValueError(f"{seen[value]} and {household.id} have the same {what} {value}: change one of them")


def public_ports(relay: RelayHost) -> tuple[int, ...]:
    """The TCP ports on which the router listens to the world, in order: 80, 443 and those of single households."""
    return (*WEB_PORTS, *_household_ports(relay))


def _household_ports(relay: RelayHost) -> tuple[int, ...]:
    ports = (household.public_port for household in _through(relay))
    return tuple(sorted(port for port in ports if port is not None))


def maps(relay: RelayHost) -> dict[str, str]:
    """The maps by file name: domain and public port to the household's address, and the address to its id."""
    households = sorted(published(relay), key=lambda household: household.slot)
    return {
        "hosts.map": _map((household.domain, household.tunnel_address) for household in households),
        "ports.map": _map(
            (household.public_port, household.tunnel_address) for household in households if household.public_port
        ),
        "households.map": _map((household.tunnel_address, household.id) for household in households),
    }


def _map(entries: Iterable[tuple[object, object]]) -> str:
    return OWNED + "".join(f"{key} {value}\n" for key, value in entries)


def config(relay: RelayHost, limits: Limits = LIMITS) -> str:
    """HAProxy's configuration. It names itself by its digest, so that a running HAProxy can be asked which it has."""
    to_the_household = template(
        __file__,
        "household.cfg.j2",
        folder=FOLDER,
        limits=limits,
        network=NETWORK,
        tunnel_port=layout.HTTPS_TUNNEL_PORT,
    ).rstrip("\n")

    def text(mark: str) -> str:
        return template(
            __file__,
            "haproxy.cfg.j2",
            address_path=layout.ADDRESS_PATH,
            folder=FOLDER,
            hard_stop_after=HARD_STOP_AFTER,
            limits=limits,
            mark=mark,
            metrics_port=layout.METRICS_PORT,
            ports=_household_ports(relay),
            to_the_household=to_the_household,
        )

    return text(f"hearth-{hashlib.sha256(text('').encode()).hexdigest()[:16]}")


def unit(limits: Limits = LIMITS) -> str:
    """The drop-in by which Debian's unit takes our configuration."""
    return template(__file__, "unit.conf.j2", config=CONFIG, descriptors=limits.descriptors)

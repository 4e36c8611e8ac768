"""What the fleet needs in the DNS: pure, from the inventory to records, and to text for a zone file of BIND's form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

from hearth.inventory.defaults import lies_in
from hearth.inventory.hosts import Fleet
from hearth.inventory.model import LETS_ENCRYPT, Household, Relay, Store, SupportPi

TTL_S = 300
"""A household that moves to another relay, or to an access of its own, is found there five minutes later."""


@dataclass(frozen=True)
class Record:
    """One record. ``zone``: where it belongs; None for a household's own domain, in whatever zone that lies.

    ``data``: None when the inventory cannot know it; ``why`` then says what belongs there. No name has a last dot.
    """

    zone: str | None
    name: str
    type: str
    data: str | None
    why: str


def records(fleet: Fleet) -> tuple[Record, ...]:
    """The records that the fleet needs: relays, Pis and stores, then households, in the inventory's order."""
    relays = {relay.name: relay for relay in fleet.relays}
    stores = (store for store in fleet.stores if not store.on_relay)
    hosts: tuple[Relay | SupportPi | Store, ...] = (*fleet.relays, *fleet.pis, *stores)
    return (
        *(
            Record(fleet.zone, host.address, "A", None, f"the public address of {host.name}")
            for host in hosts
            if not _family(host.address) and lies_in(host.address, fleet.zone)
        ),
        *(
            record
            for household in fleet.households
            if household.has_name
            for record in _of_household(household, relays.get(household.relay or ""), _zone(household, fleet.zone))
        ),
    )


def _of_household(household: Household, relay: Relay | None, zone: str | None) -> Iterator[Record]:
    name, who = household.domain, household.id
    if household.access == "relay" and relay is not None:
        family = _family(relay.address)
        if family:
            yield Record(zone, name, family, relay.address, f"{who} through {relay.name}")
        elif name == zone:
            # A zone's own name has SOA and NS records, and beside a CNAME there can be nothing (RFC 1034, 3.6.2).
            yield Record(zone, name, "A", None, f"the public address of {relay.name}, for {who}")
        else:
            yield Record(zone, name, "CNAME", f"{relay.address}.", f"{who} through {relay.name}")
    elif household.dynamic_dns is None:
        yield Record(zone, name, "A", None, f"the public address of the home of {who}, which must be a fixed one")
    elif household.dns_key is None:
        yield Record(zone, name, "KEY", None, f"not known yet: converge {household.box}, then `hearth collect {who}`")
    else:
        yield Record(zone, name, "KEY", household.dns_key, f"{who}, whose box brings its address itself")


def bind(fleet: Fleet) -> str:
    """The records in the form of a zone file (RFC 1035, 5.1); what the inventory cannot know stands in comments."""
    parts = [f"; What the fleet {fleet.name} needs in the DNS, beside your own records. Printed by `hearth zone`.\n"]
    # The fleet's zone first, the domains of which we do not know the zone last.
    found = sorted(
        records(fleet), key=lambda record: (record.zone != fleet.zone, record.zone is None, record.zone or "")
    )
    for zone, group in groupby(found, key=lambda record: record.zone):
        parts.append(
            f"\n; Zone {zone}\n" if zone else "\n; Domains of the households' own: for whoever keeps their zones\n"
        )
        parts.extend(_line(record) for record in group)
        if zone:
            parts.append(f"; {zone}. {TTL_S} IN CAA {caa(_issuers(fleet, zone))} ; suggested: nobody else issues\n")
    return "".join(parts)


def data(fleet: Fleet) -> list[dict[str, Any]]:
    """The records for programs; ``data`` is null where the inventory cannot know it."""
    return [{**asdict(record), "ttl_s": TTL_S} for record in records(fleet)]


def caa(directories: Iterable[str | None]) -> str:
    """The CAA record's data (RFC 8659) for certificates from these ACME directories; None is the fleet's authority.

    A public authority heeds CAA; the fleet's own does not, so that no public one shall issue when there is no other.
    """
    public = {directory for directory in directories if directory is not None}
    if not public:
        return '0 issue ";"'
    if public == {LETS_ENCRYPT}:
        return '0 issue "letsencrypt.org; validationmethods=tls-alpn-01"'
    return f'0 issue "(the CAA name of {", ".join(sorted(str(urlsplit(each).hostname) for each in public))})"'


def _issuers(fleet: Fleet, zone: str) -> set[str | None]:
    return {
        fleet.certificates.directory if household.issuer == "acme" else None
        for household in fleet.households
        if _zone(household, fleet.zone) == zone
    }


def _line(record: Record) -> str:
    if record.data is None:
        return f"; {record.name}. {TTL_S} IN {record.type} ({record.why})\n"
    return f"{record.name}. {TTL_S} IN {record.type} {record.data} ; {record.why}\n"


def _zone(household: Household, fleet_zone: str) -> str | None:
    """The zone in which the household's domain lies, as far as the inventory knows."""
    if household.dynamic_dns is not None:
        return household.dynamic_dns.zone
    return fleet_zone if lies_in(household.domain, fleet_zone) else None


def _family(address: str) -> str | None:
    """The record type of an IP address, or None for a name."""
    try:
        return "A" if ip_address(address).version == 4 else "AAAA"
    except ValueError:
        return None

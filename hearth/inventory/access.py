"""Rules about the ways to a household's box, and about the certificate that its visitors see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from hearth.inventory.defaults import issuer_of, lies_in, zone_of
from hearth.inventory.documents import Document, Found, first
from hearth.inventory.faults import Fault, quoted
from hearth.inventory.marks import MarkedDict
from hearth.inventory.unique import relay_name


def access_faults(fleet: Document, household: Document) -> Iterator[Fault]:
    """Yield what does not fit together in one household's access, relay and dynamic DNS."""
    access = first(household, "access", str)
    kind = access.value if access else "relay"
    port, own = first(household, "relay.public_port", int), first(household, "dynamic_dns", MarkedDict)
    if kind == "relay":
        if not relay_name(household):
            place: Found[Any] | None = access or first(household, "id", str)
            if place:
                yield place.fault("access relay needs a relay; name one, or say access: forwarded or upnp")
        if own:
            yield own.fault("with access relay the name leads to the relay, and nothing changes; take dynamic_dns out")
        return
    if port and access:
        yield port.fault(
            f"public_port is for visitors through the relay, and access is {kind} ({access.at}); take it out"
        )
    yield from _dynamic_dns(fleet, household, kind)


def _dynamic_dns(fleet: Document, household: Document, kind: str) -> Iterator[Fault]:
    own = first(household, "dynamic_dns", MarkedDict)
    found = own or first(fleet, "dynamic_dns", MarkedDict)
    domain = first(household, "domain", str)
    if not found or not domain:
        return
    zone = zone_of(fleet, found.value)
    if not lies_in(domain.value, zone):
        # The fleet's server has nothing to do with a domain that lies elsewhere; the household's own must.
        if own:
            yield own.fault(f"the domain {quoted(domain.value)} does not lie in the zone {quoted(zone)}; give the zone")
        return
    if kind == "forwarded" and "address_url" not in found.value and not relay_name(household):
        place: Found[Any] = own or domain
        yield place.fault(
            "nobody tells this box its public address; give dynamic_dns an address_url, or the household a relay"
        )


def certificate_faults(fleet: Document, household: Document) -> Iterator[Fault]:
    """Yield a fault when the household's certificate comes by ACME and nobody is named whom the server may write to."""
    issuer, found = issuer_of(fleet, household)
    if issuer == "acme" and found and not first(fleet, "certificates.contact", str):
        yield found.fault(
            "issuer acme needs a mail address for the server's account; add certificates.contact in fleet.yaml"
        )


def root_faults(fleet: Document) -> Iterator[Fault]:
    """Yield a fault when the file of a private ACME server's authority would lie outside the inventory."""
    found = first(fleet, "certificates.root", str)
    if found and ".." in PurePosixPath(found.value).parts:
        yield found.fault(f"{quoted(found.value)} leads out of the inventory; put the file below it")

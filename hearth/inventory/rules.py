"""Rules between places: what one part of the inventory says about another, each a function that yields its finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hearth.inventory.access import access_faults, certificate_faults, root_faults
from hearth.inventory.backup import backup_faults, restore_faults, store_faults
from hearth.inventory.defaults import pi_ports_of, ports_of, setting, stated
from hearth.inventory.documents import Document, Documents, Found, find, first
from hearth.inventory.faults import Fault, quoted, suggestion
from hearth.inventory.marks import MarkedDict
from hearth.inventory.retired import retired_faults
from hearth.inventory.sizes import format_size, parse_size
from hearth.inventory.support import support_faults
from hearth.inventory.unique import public_ports, relay_name, unique_faults
from hearth.inventory.values import STORE_PORTS, TUNNELS_PORTS, value_faults
from hearth.layout import METRICS_PORT

MEMORY_MINIMUM = "256M"


def rule_faults(documents: Documents) -> Iterator[Fault]:
    """Yield the faults of all rules. The documents may break their schemas: rules read what is of the right type."""
    yield from unique_faults(documents)
    yield from value_faults(documents)
    yield from retired_faults(documents)
    yield from _public_ports(documents)
    yield from support_faults(documents)
    yield from root_faults(documents.fleet)
    yield from store_faults(documents.fleet)
    yield from restore_faults(documents)
    for household in documents.households:
        yield from _file_name(household)
        yield from _domain(documents.fleet, household)
        yield from _references(documents.fleet, household)
        yield from access_faults(documents.fleet, household)
        yield from certificate_faults(documents.fleet, household)
        yield from _sizes(documents.fleet, household)
        yield from _admin(household)
        yield from _product(documents.fleet, household)
        yield from _screen_ports(documents.fleet, household)
        yield from backup_faults(documents.fleet, household)


def _file_name(household: Document) -> Iterator[Fault]:
    found = first(household, "id", str)
    if found and found.value != household.name:
        yield found.fault(
            f"the id {quoted(found.value)} and the file's name differ; rename one of them, so that they are the same"
        )


def _domain(fleet: Document, household: Document) -> Iterator[Fault]:
    domain, zone = first(household, "domain", str), first(fleet, "zone", str)
    if not domain:
        return
    for path in ("relays.*.address", "pis.*.address", "stores.*.address"):
        for found in find(fleet, path, str):
            if found.value.lower() == domain.value:
                yield domain.fault(f"{quoted(domain.value)} is a host of the fleet ({found.at}); choose another domain")
    own = first(household, "own_domain", bool)
    if zone and not (own and own.value) and not domain.value.endswith(f".{zone.value}"):
        yield domain.fault(
            f"{quoted(domain.value)} does not lie in the fleet's zone {quoted(zone.value)} ({zone.at}); "
            "change it, or say own_domain: true when the domain is the household's own"
        )


def _references(fleet: Document, household: Document) -> Iterator[Fault]:
    named: list[tuple[str, Found[str] | None, str]] = [("relay", relay_name(household), "relays")]
    named.append(("support Pi", first(household, "support.pi", str), "pis"))
    named += [("helper", found, "helpers") for found in find(household, "support.screens.*.helpers.*", str)]
    for what, found, group in named:
        known = [other.value for other in find(fleet, f"{group}.*.name", str)]
        if found and found.value not in known:
            hint = suggestion(found.value, known) or f"; fleet.yaml lists none under {group}"
            yield found.fault(f"fleet.yaml has no {what} {quoted(found.value)}{hint}")
    screen: Found[MarkedDict] | None = first(household, "support.screens.*", MarkedDict)
    if screen and not any(find(fleet, "pis.*", MarkedDict)):
        yield screen.fault("a screen needs a support Pi, and fleet.yaml has none; add one under pis")


def _sizes(fleet: Document, household: Document) -> Iterator[Fault]:
    """Ordered sizes: memory_limit >= 256M and upload_limit <= post_limit <= room."""
    try:
        memory = stated(fleet, household, "owncloud.memory_limit", str)
        if memory and parse_size(memory.value) < parse_size(MEMORY_MINIMUM):
            yield memory.fault(
                f"memory_limit ({memory.value}) is too small for the cloud; give at least {MEMORY_MINIMUM}"
            )
        upload_found = stated(fleet, household, "owncloud.upload_limit", str)
        post_found = stated(fleet, household, "owncloud.post_limit", str)
        room_found = stated(fleet, household, "owncloud.room", str)
        upload = parse_size(setting(fleet, household, "owncloud.upload_limit", str))
        post = parse_size(post_found.value) if post_found else upload
        room = parse_size(room_found.value) if room_found else 2 * upload
    except ValueError:
        return  # the schema has said what a size looks like
    if post_found and post < upload:
        whose = _set_at(upload_found, "the default")
        yield post_found.fault(
            f"post_limit ({post_found.value}) is below upload_limit ({format_size(upload)}, {whose}); "
            "raise it, or leave it out to make them equal"
        )
    if room < post:
        place = room_found or post_found
        if place:
            told = room_found.value if room_found else f"{format_size(room)}, twice upload_limit"
            yield place.fault(
                f"room ({told}) is below what one upload may need ({format_size(post)}, "
                f"{_set_at(post_found or upload_found, 'the default')}); give a larger room"
            )


def _set_at(found: Found[str] | None, otherwise: str) -> str:
    return found.at if found else otherwise


def _admin(household: Document) -> Iterator[Fault]:
    users = first(household, "owncloud.users", list)
    if users and users.value and not any(found.value for found in find(household, "owncloud.users.*.admin", bool)):
        yield users.fault("nobody administers this cloud; say admin: true for at least one user")


def _product(fleet: Document, household: Document) -> Iterator[Fault]:
    product = setting(fleet, household, "owncloud.product", str)
    known = {found.value for found in find(fleet, "releases.*.product", str)}
    if product in known or not first(fleet, "releases", list):
        return
    place: Found[Any] | None = stated(fleet, household, "owncloud.product", str)
    place = place or first(household, "owncloud", MarkedDict)
    if place:
        yield place.fault(f"fleet.yaml pins no release of {quoted(product)}; add one under releases")


def _screen_ports(fleet: Document, household: Document) -> Iterator[Fault]:
    own = {port for pi in find(fleet, "pis.*", MarkedDict) for port in pi_ports_of(fleet, pi.value)}
    for found in find(household, "support.screens.*.port", int):
        if found.value in own:
            yield found.fault(f"the port {found.value} is the support Pi's own; choose another one for the screen")


def _public_ports(documents: Documents) -> Iterator[Fault]:
    relays = {
        relay.value.get("name"): ports_of(documents.fleet, relay.value)
        for relay in find(documents.fleet, "relays.*", MarkedDict)
        if isinstance(relay.value.get("name"), str)
    }
    for found in public_ports(documents):
        relay = relay_name(found.document)
        ssh, tunnel = relays.get(relay.value, (None, None)) if relay else (None, None)
        if found.value in (ssh, tunnel):
            which = "SSH port" if found.value == ssh else "tunnel port"
            yield found.fault(f"the port {found.value} is the relay's own {which}; choose another one")
        elif found.value in TUNNELS_PORTS:
            yield found.fault(f"the port {found.value} is where the boxes' tunnels end; choose another one")
        elif found.value == METRICS_PORT:
            yield found.fault(f"the port {found.value} is where the relay tells its metrics; choose another one")
        elif found.value in STORE_PORTS:
            yield found.fault(f"the port {found.value} is a store's; choose another one")

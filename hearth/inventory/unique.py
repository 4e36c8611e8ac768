"""Rules across files: what may exist only once in a fleet."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from hearth.inventory.defaults import own_store_hosts
from hearth.inventory.documents import Document, Documents, Found, find, first
from hearth.inventory.faults import Fault, quoted
from hearth.inventory.keys import blob, key_fault

T = TypeVar("T", bound=Hashable)
KEY_PATHS = ("operators.*.keys.*", "helpers.*.keys.*", "helpers.*.keys.*.key")
SCREEN_KEY_PATHS = ("support.screens.*.key", "support.screens.*.key.key")
SLOT_MAXIMUM = 65534


def unique_faults(documents: Documents) -> Iterator[Fault]:
    """Yield a fault for everything that is taken twice, at the second place, naming the first."""
    fleet, households = documents.fleet, documents.households
    yield from _slots(documents)
    yield from _once(_all(households, "id", str), "the id", "give each household one of its own")
    yield from _once(_domains(documents), "the domain", "give each household one of its own")
    yield from _once(_all(households, "backup.repository", str), "the repository", "give each household one of its own")
    yield from _once(find(fleet, "stores.*.name", str), "the store's name", "choose another one")
    yield from _once(_screen_ports(documents), "the screen port", "choose another one")
    yield from _once(_public_ports(documents), "the public port", "choose another one", key=_relay_and_port)
    yield from _once(host_names(documents), "the host name", "choose another one", key=partial(_host_name, fleet))
    yield from _once(_addresses(fleet), "the address", "give each host one of its own", key=_lower)
    yield from _once(find(fleet, "operators.*.name", str), "the operator's name", "choose another one")
    yield from _once(find(fleet, "helpers.*.name", str), "the helper's name", "choose another one")
    yield from _once(find(fleet, "releases.*.product", str), "the product", "keep one release of each product")
    yield from _once_each_key(_keys(documents), "this SSH key", "each person needs a key of their own")
    yield from _once_each_key(
        _all(documents.collected, "tunnel_key", str),
        "this tunnel key",
        "one box is a copy of the other: remove /etc/hearth/tunnel on it, delete both files, converge and collect",
    )


def unique_in_household(household: Document) -> Iterator[Fault]:
    """Yield a fault for every name that one household gives twice."""
    yield from _once(find(household, "owncloud.users.*.name", str), "the user's name", "choose another one")
    yield from _once(find(household, "support.screens.*.name", str), "the screen's name", "choose another one")


def host_names(documents: Documents) -> Iterator[Found[str]]:
    """All hosts' names: relays, Pis, stores of their own; for a box the household's id stands for ``box-ID``."""
    yield from server_names(documents.fleet)
    yield from _all(documents.households, "id", str)


def server_names(fleet: Document) -> Iterator[Found[str]]:
    """The names of the relays, the Pis, and the stores that are hosts of their own."""
    for path in ("relays.*.name", "pis.*.name"):
        yield from find(fleet, path, str)
    for store in own_store_hosts(fleet):
        yield Found(store.value["name"], store.document, store.value.values_at["name"])


def public_ports(documents: Documents) -> Iterator[Found[int]]:
    """The public ports that households have on their relays."""
    return _all(documents.households, "relay.public_port", int)


def _domains(documents: Documents) -> Iterator[Found[str]]:
    """The households' domains, without those of households that are restored from one with the same domain.

    Its name stays with the old box until the new one has the data.
    """
    domains = {found.document.name: found for found in _all(documents.households, "domain", str)}
    for found in domains.values():
        other = domains.get(_restored_from(found.document))
        if other is None or other.value != found.value:
            yield found


def _public_ports(documents: Documents) -> Iterator[Found[int]]:
    """The public ports, without those of households that are restored from the one which has the port."""
    found = tuple(public_ports(documents))
    ports = {each.document.name: each.value for each in found}
    return (each for each in found if ports.get(_restored_from(each.document)) != each.value)


def _screen_ports(documents: Documents) -> Iterator[Found[int]]:
    """The screens' ports, without those that a household takes over from the one which it is restored from."""
    return _not_taken_over(documents, _all(documents.households, "support.screens.*.port", int))


def _not_taken_over(documents: Documents, founds: Iterable[Found[T]]) -> Iterator[Found[T]]:
    found = tuple(founds)
    owners = {(each.document.name, each.value) for each in found}
    return (each for each in found if (_restored_from(each.document), each.value) not in owners)


def _restored_from(household: Document) -> str:
    """The household that another one's backup is restored from; empty when there is none."""
    source = first(household, "restore.from", str)
    return source.value if source and source.value != household.name else ""


def relay_name(household: Document) -> Found[str] | None:
    """The relay that a household names, in either of the two forms."""
    return first(household, "relay", str) or first(household, "relay.name", str)


def _slots(documents: Documents) -> Iterator[Fault]:
    households = documents.households
    taken = {found.value for found in _all(households, "slot", int)}
    taken |= {found.value for found in find(documents.fleet, "retired.*.slot", int)}
    free = next((slot for slot in range(1, SLOT_MAXIMUM + 1) if slot not in taken), None)
    way_out = f"the lowest free slot is {free}" if free else "no slot is free"
    yield from _once(_all(households, "slot", int), "slot", way_out)


def _once(
    founds: Iterable[Found[T]],
    what: str,
    way_out: str,
    key: Callable[[Found[T]], Hashable] | None = None,
    counts: Callable[[Found[T]], bool] | None = None,
) -> Iterator[Fault]:
    """Yield a fault for each value whose ``key`` (by default the value) was seen before.

    ``counts``: whether a value counts at all; only those that are seen twice are asked, since it takes long.
    """
    seen: dict[Hashable, Found[T]] = {}
    for found in founds:
        mine = key(found) if key else found.value
        other = seen.setdefault(mine, found)
        if other is found:
            continue
        if counts and not counts(other):
            seen[mine] = found
        elif not counts or counts(found):
            value = "" if what.startswith("this") else f" {_plain(found.value)}"
            yield found.fault(f"{what}{value} is already taken{_owner(other)} ({other.at}); {way_out}")


def _once_each_key(founds: Iterable[Found[str]], what: str, way_out: str) -> Iterator[Fault]:
    """``_once`` for SSH public keys; one that is none has a fault of its own."""
    yield from _once(founds, what, way_out, key=_blob, counts=lambda found: key_fault(found.value) is None)


def _plain(value: object) -> str:
    return quoted(value).strip('"')


def _owner(found: Found[T]) -> str:
    folder = found.document.file.parent.name
    return f" by {_plain(found.document.name)}" if folder == "households" else ""


def _all(households: tuple[Document, ...], path: str, kind: type[T]) -> Iterator[Found[T]]:
    if "*" in path:
        return (found for household in households for found in find(household, path, kind))
    return (found for household in households if (found := first(household, path, kind)))


def _addresses(fleet: Document) -> Iterator[Found[str]]:
    yield from find(fleet, "relays.*.address", str)
    yield from find(fleet, "pis.*.address", str)
    yield from find(fleet, "stores.*.address", str)


def _keys(documents: Documents) -> Iterator[Found[str]]:
    for path in KEY_PATHS:
        yield from find(documents.fleet, path, str)
    for path in SCREEN_KEY_PATHS:
        yield from _not_taken_over(documents, _all(documents.households, path, str))


def _relay_and_port(found: Found[int]) -> Hashable:
    relay = relay_name(found.document)
    return (relay.value if relay else None, found.value)


def _host_name(fleet: Document, found: Found[str]) -> str:
    # Two equal ids are told by a rule of their own; here the file makes them differ.
    return found.value if found.document is fleet else f"box-{found.value} {found.document.file}"


def _lower(found: Found[str]) -> str:
    return found.value.lower()


def _blob(found: Found[str]) -> str:
    return blob(found.value) if " " in found.value.strip() else found.value

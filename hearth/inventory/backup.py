"""Rules about backups: where the stores lie, which store a household's tunnel reaches, who is restored from whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hearth.inventory.defaults import backup_store, relay_names, stores_of
from hearth.inventory.documents import Document, Documents, Found, find, first
from hearth.inventory.faults import Fault, quoted, suggestion
from hearth.inventory.marks import MarkedDict
from hearth.inventory.unique import relay_name


def store_faults(fleet: Document) -> Iterator[Fault]:
    """Yield the faults of fleet.yaml's stores, and of what it says of backups for all households."""
    relays = relay_names(fleet)
    for name, store in stores_of(fleet).items():
        if name not in relays and "address" not in store.value:
            hint = suggestion(name, relays)
            yield store.fault(
                f"{quoted(name)} is no relay, and a store that is a host of its own needs an address{hint}"
            )
        for own in ("address", "ssh_port") if name in relays else ():
            if own in store.value:
                yield Fault(
                    fleet.file,
                    *store.value.values_at[own],
                    f"{quoted(name)} is a relay, and the store lies there; take {own} out, or choose another name",
                )
    shared = first(fleet, "defaults.backup.repository", str)
    if shared:
        yield shared.fault("each household needs a repository of its own; say it in the households' files")
    named = first(fleet, "defaults.backup.store", str)
    if named:
        yield from _known(fleet, named)


def _known(fleet: Document, named: Found[str]) -> Iterator[Fault]:
    known = stores_of(fleet)
    if named.value not in known:
        hint = suggestion(named.value, known) or "; fleet.yaml lists none under stores"
        yield named.fault(f"fleet.yaml has no store {quoted(named.value)}{hint}")


def backup_faults(fleet: Document, household: Document) -> Iterator[Fault]:
    """Yield what keeps a household's backup from its store."""
    named, elsewhere = first(household, "backup.store", str), first(household, "backup.repository", str)
    if named:
        yield from _known(fleet, named)
    if named and elsewhere:
        yield elsewhere.fault(f"the backup goes to a store ({named.at}) or to a repository elsewhere; say one of them")
    relay = relay_name(household)
    name = backup_store(fleet, household, relay.value if relay else None)
    place: Found[Any] | None = named or first(household, "backup", MarkedDict) or first(household, "id", str)
    if name is None or name not in stores_of(fleet) or place is None:
        return
    way_out = "give backup a repository of its own, or say enabled: false"
    if relay is None:
        yield place.fault(
            f"the backup would go to the store {quoted(name)} through a tunnel, and this household has no relay; "
            f"name one, {way_out}"
        )
    elif name in relay_names(fleet) and name != relay.value:
        yield place.fault(
            f"the store {quoted(name)} lies on that relay, and this household's tunnel ends at {quoted(relay.value)}; "
            f"name a store there or one that is a host of its own, {way_out}"
        )


def restore_faults(documents: Documents) -> Iterator[Fault]:
    """Yield what is wrong with who is restored from whom."""
    households = {document.name: document for document in documents.households}
    retired = {found.value for found in find(documents.fleet, "retired.*.id", str)}
    # A file that cannot be read has told its own faults.
    known = documents.household_names | retired
    taken: dict[str, Found[str]] = {}
    for document in documents.households:
        source = first(document, "restore.from", str)
        if source is None:
            continue
        if source.value == document.name:
            yield source.fault(
                "a household is not restored from itself; a new box needs a new id, and a file of its own"
            )
            continue
        if source.value not in known and source.value not in _done(documents, document.name):
            hint = suggestion(source.value, known)
            yield source.fault(
                f"there is no household {quoted(source.value)}, neither by a file nor under retired in "
                f"fleet.yaml{hint}; a file stays until the restore is done"
            )
            continue
        other = taken.setdefault(source.value, source)
        if other is not source:
            yield source.fault(
                f"{quoted(source.value)} is already restored to {quoted(other.document.name)} ({other.at}); "
                "restore it to one box"
            )
        if source.value in households:
            yield from _pair(documents, document, source, households[source.value])
        elif source.value not in _done(documents, document.name) and first(document, "backup.repository", str):
            yield source.fault(
                f"only the file of {quoted(source.value)} said where its backup is, as this household's is at no "
                "store; put that file back until the restore is done"
            )


def _done(documents: Documents, household: str) -> frozenset[str]:
    """What a household's box says that it was restored from, if anything."""
    found = (document for document in documents.collected if document.name == f"box-{household}")
    return frozenset(source.value for document in found for source in find(document, "restored.from", str))


def _pair(documents: Documents, new: Document, source: Found[str], old: Document) -> Iterator[Fault]:
    """Yield what keeps ``new`` from being restored from ``old``, which both have files."""
    chained = first(old, "restore.from", str)
    if chained and chained.value not in _done(documents, old.name):
        yield source.fault(
            f"{quoted(old.name)} is itself still to be restored from {quoted(chained.value)} ({chained.at}); "
            "finish that restore first"
        )
    stores = [backup_store(documents.fleet, each, _relay(each)) for each in (new, old)]
    elsewhere = first(old, "backup.repository", str)
    if stores[1] is not None and stores[0] != stores[1]:
        yield source.fault(
            f"the backup of {quoted(old.name)} is at the store {quoted(stores[1])}; let this household use the same"
        )
    elif elsewhere and not first(new, "backup.repository", str):
        yield source.fault(
            f"the backup of {quoted(old.name)} is at a repository elsewhere ({elsewhere.at}); "
            "give this household one beside it"
        )


def _relay(household: Document) -> str | None:
    found = relay_name(household)
    return found.value if found else None

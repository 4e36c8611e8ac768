"""From a folder to a fleet, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hearth.inventory.build import build
from hearth.inventory.collected import collected_faults
from hearth.inventory.documents import Document, Documents
from hearth.inventory.faults import Fault, InventoryError
from hearth.inventory.files import Folder, Source, read_folder
from hearth.inventory.hosts import Fleet
from hearth.inventory.local import authority, local_faults
from hearth.inventory.marks import ONE_LINE, START, MarkedDict, parse
from hearth.inventory.rules import rule_faults
from hearth.inventory.schema import Kind, schema_faults
from hearth.inventory.secrets import secret_faults
from hearth.inventory.values import value_faults


@dataclass(frozen=True)
class Loaded:
    """What loading gave: the fleet, or None and the faults that are in its way, in the order of files and lines."""

    fleet: Fleet | None
    faults: tuple[Fault, ...]


def load(folder: Path) -> Loaded:
    """Given an inventory's folder, return the fleet or every fault in it; never raises for what the files hold."""
    found = read_folder(folder)
    faults = list(found.faults)
    if found.fleet is None:
        return Loaded(None, _in_order(faults, []))
    secrets = _secrets(found)
    fleet = _document(found.fleet, "fleet", faults)
    households = [_document(source, "household", faults) for source in found.households]
    collected = [_document(source, "collected", faults) for source in found.collected]
    documents = Documents(
        folder=found.path,
        fleet=fleet or Document(found.fleet.file, MarkedDict(START)),
        households=tuple(household for household in households if household),
        household_names=found.household_names,
        local=_document(found.local, "local", faults) if found.local else None,
        collected=tuple(document for document in collected if document),
    )
    # A fleet.yaml that cannot be read names no relay and no zone: what refers to them would be noise.
    faults += _all_rules(documents) if fleet else value_faults(documents)
    public = authority(found.path, _name(documents.fleet), documents.local, faults)
    in_order = _in_order(faults, secrets)
    return Loaded(None if in_order else build(documents, public), in_order)


def load_or_raise(folder: Path) -> Fleet:
    """Given an inventory's folder, return the fleet; raise InventoryError with all faults when it has any."""
    loaded = load(folder)
    if loaded.fleet is None:
        raise InventoryError(loaded.faults)
    return loaded.fleet


def _document(source: Source, kind: Kind, faults: list[Fault]) -> Document | None:
    data, found = parse(source.content, source.file)
    faults += found
    if data is None:
        return None
    faults += schema_faults(data, kind, source.file)
    return Document(source.file, data)


def _all_rules(documents: Documents) -> Iterator[Fault]:
    yield from rule_faults(documents)
    yield from local_faults(documents)
    yield from collected_faults(documents)


def _secrets(found: Folder) -> list[Fault]:
    sources = [source for source in (found.fleet, *found.households, *found.collected) if source]
    faults = [fault for source in sources for fault in secret_faults(source.content, source.file)]
    if found.local:
        faults += secret_faults(found.local.content, found.local.file, machine_paths=True)
    return faults


def _name(fleet: Document) -> str:
    name = fleet.data.get("name")
    return name if isinstance(name, str) else ""


def _in_order(faults: Iterable[Fault], secrets: Iterable[Fault]) -> tuple[Fault, ...]:
    """All faults in order, each once.

    A line with a secret gets no other fault, whose sentence might quote it; a value that could not be taken, none
    about what it would have to be.
    """
    secrets, faults = set(secrets), set(faults)
    lines = {(fault.file, fault.line) for fault in secrets}
    not_taken = {fault for fault in faults if fault.sentence == ONE_LINE}
    places = {(fault.file, fault.line, fault.column) for fault in not_taken}
    others = {fault for fault in faults if (fault.file, fault.line, fault.column) not in places}
    return tuple(sorted(secrets | {fault for fault in others | not_taken if (fault.file, fault.line) not in lines}))

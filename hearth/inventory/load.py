"""From a folder to a fleet, or to everything that is wrong with it."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hearth.inventory.build import build
from hearth.inventory.collected import collected_faults
from hearth.inventory.cores import shared
from hearth.inventory.documents import Document, Documents
from hearth.inventory.examine import Entry, Known, examine, parsed
from hearth.inventory.faults import Fault, InventoryError
from hearth.inventory.files import Folder, Source, read_folder
from hearth.inventory.hosts import Fleet
from hearth.inventory.local import authority, local_faults
from hearth.inventory.marks import ONE_LINE, START, MarkedDict
from hearth.inventory.rules import rule_faults
from hearth.inventory.secrets import secret_faults
from hearth.inventory.unique import server_names
from hearth.inventory.values import fleet_values


@dataclass(frozen=True)
class Loaded:
    """What loading gave: the fleet, or None and the faults that are in its way, in the order of files and lines."""

    fleet: Fleet | None
    faults: tuple[Fault, ...]


def load(folder: Path) -> Loaded:
    """Given an inventory's folder, return the fleet or every fault in it; never raises for what the files hold."""
    with _uncollected():
        found = read_folder(folder)
        faults = list(found.faults)
        if found.fleet is None:
            return Loaded(None, _in_order(faults, []))
        secrets = _secrets(found)
        fleet = parsed(found.fleet, "fleet", faults)
        if fleet:
            fleet = replace(fleet, found={})
        documents = _documents(found, found.fleet, fleet, faults, secrets)
        faults += fleet_values(documents.fleet)
        if fleet:
            faults += _rules(documents)
        public = authority(found.path, _name(documents.fleet), documents.local, faults)
        in_order = _in_order(faults, secrets)
        return Loaded(None if in_order else build(documents, public), in_order)


def load_or_raise(folder: Path) -> Fleet:
    """Given an inventory's folder, return the fleet; raise InventoryError with all faults when it has any."""
    loaded = load(folder)
    if loaded.fleet is None:
        raise InventoryError(loaded.faults)
    return loaded.fleet


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's cyclic garbage collector, which is not to look at what was loaded later either.

    Nothing that is loaded has cycles, and looking for them over and over in a growing fleet takes as long as all else.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.enable()


def _documents(
    found: Folder, source: Source, fleet: Document | None, faults: list[Fault], secrets: list[Fault]
) -> Documents:
    """All parsed files; adds the faults of each by itself. ``source``: of ``fleet``, which may not be readable."""
    names = frozenset(file.name.removesuffix(".yaml") for file in found.households)
    servers = frozenset(name.value for name in server_names(fleet)) if fleet else frozenset()
    known = Known(found.path, fleet, servers | {f"box-{name}" for name in names})
    entries = [Entry(file, "household") for file in found.households]
    entries += [Entry(file, "collected") for file in found.collected]
    contents: list[MarkedDict | None] = [None] * len(entries)
    for places, part in shared(partial(examine, known), entries):
        faults += part.faults
        secrets += part.secrets
        for place, content in zip(places, part.contents, strict=True):
            contents[place] = content
    read = [(entry, content) for entry, content in zip(entries, contents, strict=True) if content is not None]
    return Documents(
        folder=found.path,
        fleet=fleet or Document(source.file, MarkedDict(START)),
        households=tuple(Document(entry.file, content) for entry, content in read if entry.kind == "household"),
        household_names=names,
        local=parsed(found.local, "local", faults) if found.local else None,
        collected=tuple(Document(entry.file, content) for entry, content in read if entry.kind == "collected"),
    )


def _rules(documents: Documents) -> Iterator[Fault]:
    yield from rule_faults(documents)
    yield from local_faults(documents)
    yield from collected_faults(documents)


def _secrets(found: Folder) -> list[Fault]:
    faults = secret_faults(found.fleet.content, found.fleet.file) if found.fleet else []
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

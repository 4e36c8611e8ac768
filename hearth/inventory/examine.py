"""One file at a time: its bytes, its parsed content, and all faults that can be told without the other files.

Only the shared data (``Known``) and the file itself count, so files can be examined in any order, and in other
processes.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hearth.inventory.collected import collected_values
from hearth.inventory.documents import Document
from hearth.inventory.faults import Fault
from hearth.inventory.files import Source, read_entry
from hearth.inventory.marks import MarkedDict, packed, parse, unpacked
from hearth.inventory.rules import household_faults
from hearth.inventory.schema import Kind, fits
from hearth.inventory.secrets import secret_faults
from hearth.inventory.values import household_values


class Entry(NamedTuple):
    """A file of one of the inventory's two folders of files, not read yet."""

    file: Path
    kind: Kind


@dataclass(frozen=True)
class Known:
    """What holds for every file. ``fleet``: None when fleet.yaml cannot be read. ``hosts``: the names of all."""

    folder: Path
    fleet: Document | None
    hosts: frozenset[str]


@dataclass(frozen=True)
class Examined:
    """What was found in some files, without their paths: their contents, None where there is none to speak of."""

    contents: list[MarkedDict | None] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    secrets: list[Fault] = field(default_factory=list)

    def __reduce__(self) -> tuple[Any, ...]:
        # All contents at once and as plain data, without pickle's look for what occurs twice: half of the time.
        return _received, (marshal.dumps([packed(content) for content in self.contents]), self.faults, self.secrets)


def _received(contents: bytes, faults: list[Fault], secrets: list[Fault]) -> Examined:
    # From a fork of this very process.
    return Examined([unpacked(content) for content in marshal.loads(contents)], faults, secrets)  # noqa: S302


def examine(known: Known, entries: Sequence[Entry]) -> Examined:
    """Read and judge files; never raises for what they hold."""
    found = Examined()
    for entry in entries:
        source = read_entry(known.folder, entry.file, found.faults)
        document = parsed(source, entry.kind, found.faults) if source else None
        found.contents.append(document.data if document else None)
        if source:
            found.secrets.extend(secret_faults(source.content, source.file))
        if document:
            found.faults.extend(_faults(known, document, entry.kind))
    return found


def parsed(source: Source, kind: Kind, faults: list[Fault]) -> Document | None:
    """The document in a file's bytes, or None; adds its faults of form: of YAML and of the schema."""
    data, found = parse(source.content, source.file)
    faults += found
    if data is None:
        return None
    if found or not fits(data, kind):
        from hearth.inventory.findings import schema_faults  # noqa: PLC0415 (takes long, and is seldom asked for)

        faults += schema_faults(data, kind, source.file)
    return Document(source.file, data)


def _faults(known: Known, document: Document, kind: Kind) -> Iterator[Fault]:
    if kind == "household":
        yield from household_values(document)
        # A fleet.yaml that cannot be read names no relay and no zone: what refers to them would be noise.
        if known.fleet:
            yield from household_faults(known.fleet, document)
    elif known.fleet and document.name in known.hosts:
        yield from collected_values(document)

"""The parsed files as the rules see them: values that can be asked for by path, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from hearth.inventory.faults import Fault, shown
from hearth.inventory.marks import START, Mark, MarkedDict, MarkedList

T = TypeVar("T")


@dataclass(frozen=True)
class Document:
    """One parsed file. It may still break its schema: rules read what is there and of the right type.

    ``found``: what ``find`` has found in it, kept for a file that is asked the same for every household.
    """

    file: Path
    data: MarkedDict
    found: dict[tuple[str, type[Any]], tuple[Found[Any], ...]] | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The file's name without its ending: a household's id, when all is well."""
        return self.file.name.removesuffix(".yaml")


@dataclass(frozen=True)
class Documents:
    """All parsed files of an inventory. ``household_names``: of all files, also those that cannot be parsed.

    ``collected``: what hosts tell about themselves, a file each, named after the host.
    """

    folder: Path
    fleet: Document
    households: tuple[Document, ...]
    household_names: frozenset[str]
    local: Document | None
    collected: tuple[Document, ...] = ()


class Found(NamedTuple, Generic[T]):
    """A value and its place."""

    value: T
    document: Document
    mark: Mark

    def fault(self, sentence: str) -> Fault:
        """A fault of this value."""
        return Fault(self.document.file, self.mark.line, self.mark.column, sentence)

    @property
    def at(self) -> str:
        """The place for a sentence about another one: ``inventory/households/schmidt.yaml:6``."""
        return f"{shown(self.document.file)}:{self.mark.line}"


def find(document: Document, path: str, kind: type[T]) -> Iterator[Found[T]]:
    """Given a path such as ``support.screens.*.port``, yield what stands there and is of this type.

    ``*`` goes through a list or through a mapping's values. A boolean is no whole number here.
    """
    if document.found is None:
        return _find(document, path, kind)
    return iter(_kept(document, document.found, path, kind))


def _kept(document: Document, kept: dict[tuple[str, type[Any]], Any], path: str, kind: type[T]) -> tuple[Found[T], ...]:
    known: tuple[Found[T], ...] | None = kept.get((path, kind))
    if known is None:
        known = kept[path, kind] = tuple(_find(document, path, kind))
    return known


def _find(document: Document, path: str, kind: type[T]) -> Iterator[Found[T]]:
    if "*" in path:
        return _through_all(document, path, kind)
    found = _at(document, path, kind)
    return iter((found,) if found else ())


def _through_all(document: Document, path: str, kind: type[T]) -> Iterator[Found[T]]:
    steps = _steps(path)
    if steps[0] != "*" and steps[0] not in document.data:
        return
    reached: list[tuple[Any, Mark]] = [(document.data, document.data.mark or START)]
    for step in steps:
        reached = [below for value, _ in reached for below in _step(value, step)]
        if not reached:
            return
    for value, mark in reached:
        if _is(value, kind):
            yield Found(value, document, mark)


def first(document: Document, path: str, kind: type[T]) -> Found[T] | None:
    """The first that ``find`` yields, or None."""
    # Rules ask some eighty times a household, mostly for what is not there: these are short ways to the same answer.
    if document.found is not None:
        known = _kept(document, document.found, path, kind)
        return known[0] if known else None
    return next(_through_all(document, path, kind), None) if "*" in path else _at(document, path, kind)


def _at(document: Document, path: str, kind: type[T]) -> Found[T] | None:
    """What stands at a path without ``*``."""
    value: Any = document.data
    holder, step = document.data, ""
    for step in _steps(path):
        if not isinstance(value, MarkedDict) or step not in value:
            return None
        holder, value = value, value[step]
    return Found(value, document, holder.values_at[step]) if _is(value, kind) else None


@cache
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _is(value: Any, kind: type[Any]) -> bool:
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _step(value: Any, step: str) -> Iterable[tuple[Any, Mark]]:
    if isinstance(value, MarkedDict):
        if step == "*":
            return [(below, value.values_at[name]) for name, below in value.items()]
        return ((value[step], value.values_at[step]),) if step in value else ()
    if isinstance(value, MarkedList) and step == "*":
        return zip(value, value.values_at, strict=True)
    return ()

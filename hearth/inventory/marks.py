"""YAML with line numbers: bytes in, plain data out that remembers where each property and value stands.

Scalars follow YAML 1.2's core rules, read strictly, so nothing surprises: ``no`` and ``03:00-05:00`` are texts,
``true`` is a boolean, ``17`` a number, ``8.4`` a number with a fraction (which no property takes: quote it). Anchors,
aliases, tags, merge keys and a second document are refused: the inventory needs none of them, and each is a way to say
one thing and mean another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml._yaml import CParser  # CSafeLoader without what makes objects

from hearth.inventory.faults import UNPRINTABLE, Fault, quoted

DEPTH_LIMIT = 20
ONE_LINE = "this value goes over several lines; write it on one line, behind its name"
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# 18 digits hold every number that an inventory has; longer ones (and those with a leading zero, which YAML 1.1 reads as
# octal) stay texts, and the schema then says what it expects.
WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
FRACTION = re.compile(r"[-+]?(\.[0-9]+|[0-9]{1,18}(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")


# Stands for a name that is none, so that its value is passed over; whatever holds it has a fault of its own.
_NO_NAME = "\0"


class Mark(NamedTuple):
    """A place in a file; both count from 1."""

    line: int
    column: int


START = Mark(1, 1)
# What Mark(…) comes to, without the way through a function of Python's: a file has a hundred places.
_new = tuple.__new__
# Letters with which no null, boolean or number begins.
_TEXT = frozenset("abcdeghijklmopqrsuvwxyzABCDEGHIJKLMOPQRSUVWXYZ/")


class MarkedDict(dict[str, Any]):
    """A mapping; ``mark`` is its own place, ``keys_at`` and ``values_at`` those of its properties."""

    __slots__ = ("keys_at", "mark", "packed_places", "values_at")
    packed_places: tuple[Any, ...]

    def __init__(self, mark: Mark) -> None:
        super().__init__()
        self.mark = mark
        self.keys_at: dict[str, Mark] = {}
        self.values_at: dict[str, Mark] = {}

    def __getattr__(self, name: str) -> Any:
        # Of one that was unpacked, what nobody has asked for yet: most places are never asked for.
        if name not in ("keys_at", "mark", "values_at"):
            raise AttributeError(name)
        mark, names, keys_at, values_at = self.packed_places
        if name == "mark":
            self.mark = _new(Mark, mark)
        elif name == "keys_at":
            self.keys_at = dict(zip(names, _marks(keys_at), strict=True))
        else:
            self.values_at = dict(zip(self, _marks(values_at), strict=True))
        return getattr(self, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked, (packed(self),)


class MarkedList(list[Any]):
    """A list; ``mark`` is its own place, ``values_at`` those of its items."""

    __slots__ = ("mark", "values_at")

    def __init__(self, mark: Mark) -> None:
        super().__init__()
        self.mark = mark
        self.values_at: list[Mark] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked, (packed(self),)


def packed(value: Any) -> Any:
    """A value as plain data, down to the last place: scalars as they are, containers as tuples, places as numbers.

    Serialized ten times as fast as object by object.
    """
    if isinstance(value, MarkedDict):
        keys_at, values_at = _numbers(value.keys_at.values()), _numbers(value.values_at.values())
        places = (tuple(value.mark), tuple(value.keys_at), keys_at, values_at)
        return places, tuple(value), tuple(map(packed, value.values()))
    if isinstance(value, MarkedList):
        return (*value.mark, _numbers(value.values_at)), tuple(map(packed, value))
    return value


def unpacked(value: Any) -> Any:
    """What ``packed`` was given."""
    if type(value) is not tuple:
        return value
    if len(value) == 2:
        (line, column, values_at), items = value
        marked_list = MarkedList(_new(Mark, (line, column)))
        marked_list.values_at = _marks(values_at)
        marked_list.extend(map(unpacked, items))
        return marked_list
    places, names, values = value
    marked = MarkedDict.__new__(MarkedDict, ())
    marked.packed_places = places
    marked.update(zip(names, map(unpacked, values), strict=True))
    return marked


def _numbers(marks: Iterable[Mark]) -> tuple[int, ...]:
    return tuple(number for mark in marks for number in mark)


def _marks(numbers: tuple[int, ...]) -> list[Mark]:
    pairs = iter(numbers)
    return [_new(Mark, pair) for pair in zip(pairs, pairs, strict=True)]


class _Refusal(Exception):
    """Reading ends here: the place and the sentence."""

    def __init__(self, mark: Mark, sentence: str) -> None:
        super().__init__(sentence)
        self.mark, self.sentence = mark, sentence


def parse(content: bytes, file: Path) -> tuple[MarkedDict | None, list[Fault]]:
    """Given a file's bytes, return its mapping and the faults found on the way; no mapping when it cannot be read."""
    faults: list[Fault] = []
    try:
        text = _decoded(content)
        document = _Reader(text, file, faults).read()
    except _Refusal as refusal:
        faults.append(Fault(file, *refusal.mark, refusal.sentence))
        return None, faults
    return document, faults


def _decoded(content: bytes) -> str:
    """Given bytes, return their text; raise _Refusal unless they are UTF-8 without tabs and control characters."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Refusal(START, "the file is UTF-16; save it as UTF-8")
    if content.startswith(b"\xef\xbb\xbf"):
        raise _Refusal(START, "the file begins with a byte order mark; save it as UTF-8 without BOM")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        mark = _mark_of(content[: error.start].decode("utf-8", "replace"))
        raise _Refusal(mark, "this byte is not UTF-8; save the file as UTF-8") from None
    text = text.replace("\r\n", "\n")
    for match in UNPRINTABLE.finditer(text):
        if match[0] == "\n":
            continue
        mark = _mark_of(text[: match.start()])
        if match[0] == "\t":
            raise _Refusal(mark, "a tab stands here; use spaces")
        raise _Refusal(mark, f"the invisible character U+{ord(match[0]):04X} stands here; remove it")
    return text


def _mark_of(text_before: str) -> Mark:
    return Mark(text_before.count("\n") + 1, len(text_before) - text_before.rfind("\n"))


class _Reader:
    """One pass over libyaml's events, without recursion: a hostile file can exhaust neither stack nor memory."""

    def __init__(self, text: str, file: Path, faults: list[Fault]) -> None:
        self.file = file
        self.faults = faults
        self.parser = CParser(text)
        self.open: list[MarkedDict | MarkedList] = []
        # The property that each open mapping waits to have a value for; None when a name is due.
        self.pending: list[str | None] = []
        self.root: Any = None
        self.root_mark = START
        self.documents = 0

    def read(self) -> MarkedDict:
        """Return the document's mapping; raise _Refusal when there is none."""
        try:
            get_event = self.parser.get_event
            while (kind := type(event := get_event())) is not yaml.StreamEndEvent:
                if kind is yaml.ScalarEvent:
                    self._scalar(event)
                else:
                    self._take(event, kind)
        except yaml.MarkedYAMLError as error:
            place = error.problem_mark or error.context_mark
            mark = Mark(place.line + 1, place.column + 1) if place else START
            raise _Refusal(mark, f"this is not valid YAML: {error.problem or 'it cannot be read'}") from None
        except (yaml.YAMLError, UnicodeError, ValueError):
            raise _Refusal(START, "this is not valid YAML: it has characters that cannot be read") from None
        if self.root is None:
            raise _Refusal(START, "the file is empty; describe what it is named after, or remove it")
        if not isinstance(self.root, MarkedDict):
            raise _Refusal(self.root_mark, f'the file must hold "property: value" lines, not {quoted(self.root)}')
        return self.root

    def _take(self, event: Any, kind: type[Any]) -> None:
        if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            if event.anchor is not None or event.tag is not None:
                self._refuse_extras(event)
            self._begin(MarkedDict if kind is yaml.MappingStartEvent else MarkedList, _at(event))
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self.open.pop()
            self.pending.pop()
        elif kind is yaml.AliasEvent:
            raise _Refusal(_at(event), "aliases (*name) are not used here; write the value out")
        elif kind is yaml.DocumentStartEvent:
            self.documents += 1
            if self.documents > 1:
                raise _Refusal(_at(event), "a second document begins here; one file holds one document")

    def _refuse_extras(self, event: Any) -> None:
        if event.anchor is not None:
            raise _Refusal(_at(event), "anchors (&name) are not used here; write the value out where it is needed")
        if event.tag is not None:
            raise _Refusal(_at(event), "tags (!name) are not used here; write the plain value")

    def _begin(self, container: type[MarkedDict] | type[MarkedList], mark: Mark) -> None:
        if len(self.open) >= DEPTH_LIMIT:
            raise _Refusal(mark, f"more than {DEPTH_LIMIT} levels are nested here; no property goes so deep")
        if self._name_is_due():
            raise _Refusal(mark, "the name of a property must be a plain word")
        value = container(mark)
        self._put(value, mark)
        self.open.append(value)
        self.pending.append(None)

    def _scalar(self, event: Any) -> None:
        if event.anchor is not None or event.tag is not None:
            self._refuse_extras(event)
        start = event.start_mark
        mark = _new(Mark, (start.line + 1, start.column + 1))
        plain = not event.style
        value = event.value
        # What begins with such a letter is a text, as nearly all is.
        if plain and value[:1] not in _TEXT and event.implicit[0]:
            value = _resolved(value)
        if event.end_mark.line > start.line:
            # What is wrong with one line of it may be a secret's fault, so no later sentence may quote the whole.
            value = ""
            self.faults.append(Fault(self.file, *mark, ONE_LINE))
        elif isinstance(value, str) and not value.isprintable() and UNPRINTABLE.search(value):
            sentence = "this text has an invisible character or a line break; remove it"
            self.faults.append(Fault(self.file, *mark, sentence))
        if self.open and self.pending[-1] is None and type(parent := self.open[-1]) is MarkedDict:
            self._name(parent, value, event.value, plain, mark)
        else:
            self._put(value, mark)

    def _name_is_due(self) -> bool:
        return bool(self.open) and self.pending[-1] is None and isinstance(self.open[-1], MarkedDict)

    def _name(self, parent: MarkedDict, value: object, text: str, plain: bool, mark: Mark) -> None:
        if plain and text == "<<":
            raise _Refusal(mark, "merge keys (<<) are not used here; write the properties out")
        if not isinstance(value, str):
            self.faults.append(Fault(self.file, *mark, f"the name of a property must be a word, not {quoted(value)}"))
            text = _NO_NAME
        elif text in parent:
            first = parent.keys_at[text].line
            sentence = f"{quoted(text)} is here for the second time (first in line {first}); keep one of them"
            self.faults.append(Fault(self.file, *mark, sentence))
        parent.keys_at.setdefault(text, mark)
        self.pending[-1] = text

    def _put(self, value: Any, mark: Mark) -> None:
        if not self.open:
            self.root, self.root_mark = value, mark
            return
        parent = self.open[-1]
        if isinstance(parent, MarkedList):
            parent.append(value)
            parent.values_at.append(mark)
            return
        name = self.pending[-1]
        if name is not None and name is not _NO_NAME:
            # The first of two equal names stays, so that later faults speak of one value only.
            parent.setdefault(name, value)
            parent.values_at.setdefault(name, mark)
        self.pending[-1] = None


def _at(event: Any) -> Mark:
    return _new(Mark, (event.start_mark.line + 1, event.start_mark.column + 1))


def _resolved(text: str) -> object:
    """Given a plain scalar, return its value by YAML 1.2's core rules (section 10.3.2 of the specification)."""
    if text in NULLS:
        return None
    if text in BOOLEANS:
        return BOOLEANS[text]
    if WHOLE.fullmatch(text):
        return int(text)
    if FRACTION.fullmatch(text) and ("." in text or "e" in text or "E" in text):
        return float(text)
    return text


def place_of(document: MarkedDict | MarkedList, path: tuple[str | int, ...]) -> Mark:
    """The place of the value at ``path``; for an empty path, of the document itself."""
    value: Any = document
    mark = document.mark
    for step in path:
        mark = value.values_at[step]
        value = value[step]
    return mark

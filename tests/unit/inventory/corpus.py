"""The corpus: one good fleet, and for each way to spoil it a small file that says how and what must be told.

A case is lines of: ``file PATH`` (which file of the good fleet is spoilt); ``- LINE`` (the first such line goes) and
``+ LINE`` (this comes instead); ``| LINE`` (the whole new content); ``expect PATH:LINE FRAGMENT`` (a fault that must
be found). Exactly the expected faults may be found. Escapes such as ``\\t`` and ``\\xff`` stand for bytes.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

CORPUS = Path(__file__).parents[2] / "corpus"
GOOD = CORPUS / "good"


@dataclass
class Case:
    """A parsed case: the new bytes of each spoilt file, and what is expected."""

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    expected: list[tuple[str, int, str]] = field(default_factory=list)


def cases() -> list[Case]:
    return [read_case(path) for path in sorted((CORPUS / "bad").glob("*.txt"))]


def read_case(path: Path) -> Case:
    case = Case(path.stem)
    name, lines, position = "", [""], 0
    whole: list[str] | None = None
    for line in [*path.read_text().splitlines(), "file "]:
        word, _, rest = line.partition(" ")
        if word in {"file", "expect"} and name:
            case.files[name] = _bytes("\n".join(whole or [] if _is_new(name, whole) else lines))
        if word == "file":
            name, whole = rest, None
            source = GOOD / name
            lines = source.read_text().splitlines() if name and source.is_file() else []
        elif word == "expect":
            place, _, fragment = rest.partition(" ")
            file, _, number = place.rpartition(":")
            case.expected.append((file, int(number), fragment))
        elif word == "-":
            position = lines.index(rest)
            del lines[position]
        elif word == "+":
            lines.insert(position, rest)
            position += 1
        elif word == "|":
            whole = [*(whole or []), rest]
    return case


def make_fleet(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    """Put the good fleet into ``folder``, with some of its files replaced."""
    shutil.copytree(GOOD, folder, dirs_exist_ok=True)
    for name, content in (files or {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _is_new(name: str, whole: list[str] | None) -> bool:
    return whole is not None or not (GOOD / name).is_file()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8").decode("unicode_escape").encode("latin-1") + b"\n" if text else b""

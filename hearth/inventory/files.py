"""Reading an inventory's folder: which files it has, and their bytes, taken only from plain files inside it."""

from __future__ import annotations

import difflib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from hearth.inventory.faults import Fault, quoted

HOUSEHOLD_BYTES_LIMIT = 64 * 1024
FLEET_BYTES_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Source:
    """A file of the inventory and its bytes."""

    file: Path
    content: bytes


@dataclass(frozen=True)
class Folder:
    """What an inventory's folder holds. ``fleet`` and ``local`` are None when missing or not readable.

    ``households`` and ``collected``: the files in these folders, for ``read_entry``.
    """

    path: Path
    fleet: Source | None
    local: Source | None
    households: tuple[Path, ...]
    collected: tuple[Path, ...]
    faults: tuple[Fault, ...]


def read_folder(folder: Path) -> Folder:
    """Given an inventory's folder, return which files it has, the bytes of those that all others are judged by, and a
    fault for everything that is odd; never raise.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 (resolve() would replace the names the user wrote)
    faults: list[Fault] = []
    fleet = local = None
    if not os.path.lexists(folder / "fleet.yaml"):
        faults.append(_fault(folder / "fleet.yaml", _no_fleet(folder)))
    else:
        fleet = _source(folder, folder / "fleet.yaml", FLEET_BYTES_LIMIT, faults)
        faults += _strays(folder)
    if os.path.lexists(folder / "local.yaml"):
        # Not part of the repository, so a link to wherever this machine keeps such things is fine.
        local = _source(None, folder / "local.yaml", FLEET_BYTES_LIMIT, faults)
    households = _entries(folder, "households", "households belong here", faults) if fleet else []
    told = "what `hearth collect` writes belongs here"
    collected = _entries(folder, "collected", told, faults) if fleet else []
    return Folder(folder, fleet, local, tuple(households), tuple(collected), tuple(faults))


def read_entry(folder: Path, file: Path, faults: list[Fault]) -> Source | None:
    """Return the bytes of one of the inventory's many files, or None and a fault more."""
    return _source(folder, file, HOUSEHOLD_BYTES_LIMIT, faults)


def _no_fleet(folder: Path) -> str:
    if not folder.is_dir():
        return "there is no such folder; give the folder that holds your fleet.yaml"
    return "there is no fleet.yaml here; give the folder that holds one, or copy the example inventory to begin"


def _strays(folder: Path) -> list[Fault]:
    """Files beside fleet.yaml that look as if they were meant to be read."""
    faults = []
    for name in _names(folder, []):
        if name in {"fleet.yaml", "local.yaml", "households", "collected"}:
            continue
        if name.endswith((".yaml", ".yml")):
            sentence = "this file is not read; an inventory is fleet.yaml, local.yaml and households/NAME.yaml"
            faults.append(_fault(folder / name, sentence))
        elif difflib.get_close_matches(name, ["households"], cutoff=0.8):
            faults.append(_fault(folder / name, 'this folder is not read; did you mean "households"?'))
    return faults


def _entries(folder: Path, kind: str, what: str, faults: list[Fault]) -> list[Path]:
    """Return the files of the folder ``kind``, readable or not. ``what``: what belongs there, for a sentence."""
    below = folder / kind
    if not os.path.lexists(below):
        return []
    if _leaves(folder, below):
        faults.append(_fault(below, "this link leads out of the inventory; put the folder itself here"))
        return []
    if not below.is_dir():
        faults.append(_fault(below, f"{kind} must be a folder of files, one NAME.yaml each"))
        return []
    found = []
    for name in _names(below, faults):
        if name == ".gitkeep":
            continue
        if not name.endswith(".yaml"):
            sentence = f"only {what}, one NAME.yaml each; rename this file or move it away"
            faults.append(_fault(below / name, sentence))
            continue
        found.append(below / name)
    return found


def _names(folder: Path, faults: list[Fault]) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 (names are wanted, in a tenth of the time)
    except OSError as error:
        faults.append(_fault(folder, f"the folder cannot be read ({error.strerror}); mend its permissions"))
        return []


def _source(inside: Path | None, file: Path, limit_bytes: int, faults: list[Fault]) -> Source | None:
    """Return the file's bytes; given ``inside``, only when it does not lead out of that folder. Else add a fault."""
    name = str(file)
    try:
        # Neither a pipe nor a device may hold the reader up, hence the look before the opening, and O_NONBLOCK for
        # what changes in between.
        if not stat.S_ISREG(os.lstat(name).st_mode):
            if inside and _leaves(inside, file):
                faults.append(_fault(file, "this link leads out of the inventory; put the file itself here"))
                return None
            if not stat.S_ISREG(file.stat().st_mode):
                faults.append(_fault(file, "this is not a plain file; put a plain text file here"))
                return None
        content = _bytes(name, limit_bytes + 1)
    except OSError as error:
        faults.append(_fault(file, f"the file cannot be read ({error.strerror}); mend the file or its permissions"))
        return None
    if len(content) > limit_bytes:
        sentence = f"the file is larger than {limit_bytes // 1024} KiB, more than any real one; see what is in it"
        faults.append(_fault(file, sentence))
        return None
    return Source(file, content)


def _bytes(file: str, limit: int) -> bytes:
    """The first bytes of a file, ``limit`` at most. Raises OSError. (A third of the time that Path takes for it.)"""
    opened = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        content = os.read(opened, limit)
        while len(content) < limit and (more := os.read(opened, limit - len(content))):
            content += more
        return content
    finally:
        os.close(opened)


def _leaves(folder: Path, path: Path) -> bool:
    """Whether a symbolic link makes ``path`` lead out of ``folder``; loops and dangling links count as outside."""
    if not path.is_symlink():
        return False
    try:
        return not path.resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return True


def public_half(folder: Path, name: str, faults: list[Fault]) -> str | None:
    """Return the text of ``authority/NAME``, a public half of the fleet's authority, or None when it is not there."""
    file = folder / "authority" / name
    if not os.path.lexists(file):
        return None
    source = _source(folder, file, HOUSEHOLD_BYTES_LIMIT, faults)
    if source is None:
        return None
    try:
        return source.content.decode("ascii")
    except UnicodeDecodeError:
        faults.append(_fault(file, f"{quoted(name)} holds no public half; make the authority again"))
        return None


def _fault(file: Path, sentence: str) -> Fault:
    return Fault(file, 1, 1, sentence)

"""Whether two peers left the same: paths, kinds, modes, owners and SHA-256 of what a host has changed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OWN = (
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "etc/ld.so.cache",
    "etc/mtab",
    "root",
    "run",
    "tmp",
    "var/cache",
    "var/lib/apt",
    "var/lib/dpkg",
    "var/lib/hearth",
    "var/log",
    "var/tmp",
    "home/anna/.ansible",
    "home/anna/.cache",
    "usr/lib/hearth/apply",
    "usr/lib/hearth/__pycache__",
)
"""What a tool or a running system keeps for itself: locks, logs, caches, hearth's record and its program."""


@dataclass(frozen=True)
class Entry:
    """One path. ``content``: a file's SHA-256, a link's target; empty for a folder."""

    kind: str
    mode: str
    owner: int
    group: int
    content: str = ""


def is_own(path: str, own: Collection[str] = OWN) -> bool:
    """Whether a path (relative to the host's root) is of a tool's own, and not of the workload."""
    return any(path == one or path.startswith(f"{one}/") for one in own)


def manifest(root: Path, folders: Collection[str] = (), floor: Sequence[Path] = ()) -> dict[str, Entry]:
    """Every file and link below ``root`` that is not a tool's own, and those of the ``folders`` that are there.

    ``root`` is an overlay's upper folder over the layers ``floor`` (uppermost first): what was written anew as it stood
    there before is left out.
    """
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if is_own(name) or (path.is_dir() and not path.is_symlink() and name not in folders):
            continue
        before = next((layer / name for layer in floor if os.path.lexists(layer / name)), None)
        if before is None or entry(path) != entry(before):
            found[name] = entry(path)
    return found


def entry(path: Path) -> Entry:
    """What is at a path."""
    status = path.lstat()
    mode, owner, group = status.st_mode, status.st_uid, status.st_gid
    if stat.S_ISLNK(mode):
        return Entry("link", "", owner, group, str(path.readlink()))
    if stat.S_ISDIR(mode):
        return Entry("folder", f"{mode & 0o7777:o}", owner, group)
    if stat.S_ISREG(mode):
        return Entry("file", f"{mode & 0o7777:o}", owner, group, hashlib.sha256(path.read_bytes()).hexdigest())
    # A character device 0/0 in an overlay's upper folder: something of the floor was removed.
    return Entry("removed" if stat.S_ISCHR(mode) else "other", "", owner, group)


def differences(wanted: Mapping[str, Entry], found: Mapping[str, Entry]) -> list[str]:
    """What differs, one sentence a path; empty when it is the same."""
    said = []
    for path in sorted(wanted.keys() | found.keys()):
        if wanted.get(path) != found.get(path):
            said.append(f"/{path}: {_words(wanted.get(path))} by hearth, {_words(found.get(path))} here")
    return said


def _words(found: Entry | None) -> str:
    if found is None:
        return "absent"
    return " ".join(filter(None, (found.kind, found.mode, f"{found.owner}:{found.group}", found.content[:40])))

"""Repositories as trees of files: listed, cloned by hard links, exchanged in one step, removed."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PARTS = ("data", "index", "keys", "snapshots")
"""What makes a repository, beside its file ``config``. Locks come and go."""

LEAST_BYTES = 64 << 10

_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_AT_FDCWD = -100
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Entry:
    """A file of a repository: its path inside, what it is (never the same for a file that was replaced), its links."""

    path: str
    size: int
    inode: int
    links: int
    time: float


def entries(repository: Path) -> Iterator[Entry]:
    """Every file of a repository's parts; what is being uploaded is none yet."""
    for top in ("config", *PARTS):
        start = repository / top
        found = [start] if start.is_file() else sorted(path for path in start.rglob("*") if path.is_file())
        for path in found:
            if "rest-server-temp" not in path.name and not path.is_symlink():
                told = path.stat()
                yield Entry(str(path.relative_to(repository)), told.st_size, told.st_ino, told.st_nlink, told.st_mtime)


def fingerprint(repository: Path) -> str:
    """The same as long as no file of a repository came, went, or was replaced."""
    lines = "".join(f"{entry.path} {entry.size} {entry.inode}\n" for entry in entries(repository))
    return hashlib.sha256(lines.encode()).hexdigest()


def data_bytes(repository: Path) -> int:
    """How much data a repository holds."""
    return sum(entry.size for entry in entries(repository) if entry.path.startswith("data/"))


def bytes_below(folder: Path) -> int:
    """What everything below a folder takes, whatever it is; 0 when there is none.

    A file counts as 64 KiB at least, or a household could spend all inodes of the disk; restic's have 16 MiB.
    """
    found = folder.rglob("*") if folder.is_dir() else ()
    return sum(max(path.lstat().st_size, LEAST_BYTES) for path in found if not path.is_dir())


def own_bytes(folder: Path) -> int:
    """The size of the files below a folder that lie nowhere else."""
    found = (path.lstat() for path in folder.rglob("*") if not path.is_dir())
    return sum(told.st_size for told in found if told.st_nlink == 1)


def locks(repository: Path) -> list[float]:
    """When each of the repository's locks was set: somebody is at work there, or was killed."""
    found = []
    for path in (repository / "locks").glob("*"):
        with suppress(FileNotFoundError):  # its work was done in this moment
            found.append(path.stat().st_mtime)
    return found


def names(repository: Path, part: str) -> frozenset[str]:
    """The names of the files in one part of a repository."""
    return frozenset(
        entry.path.rpartition("/")[2] for entry in entries(repository) if entry.path.startswith(f"{part}/")
    )


def clone(repository: Path, new: Path, without: frozenset[str]) -> None:
    """Make ``new`` a clone by hard links, without some snapshots, by name. It has folders of its own."""
    new.mkdir(mode=0o700)
    for part in (*PARTS, "locks"):
        (new / part).mkdir(mode=0o700)
    for number in range(256):
        (new / "data" / f"{number:02x}").mkdir(mode=0o700)
    for entry in entries(repository):
        if entry.path.startswith("snapshots/") and entry.path.rpartition("/")[2] in without:
            continue
        os.link(repository / entry.path, new / entry.path)
    sync_tree(new)


def add_missing(source: Path, target: Path) -> None:
    """Link every file of ``source`` that ``target`` has not into it: what a repository holds is never in its way."""
    for entry in entries(source):
        there = target / entry.path
        if not there.exists():
            there.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.link(source / entry.path, there)
    sync_tree(target)


def exchange(one: Path, other: Path) -> None:
    """Let two folders change places in one step, whoever looks (renameat2(2))."""
    for folder in (one, other):
        folder.chmod(0o700)  # whose quota is spent is not, and the kernel would not let it move
    status = _LIBC.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE)
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))
    sync(one.parent)
    sync(other.parent)


def move(source: Path, target: Path) -> None:
    """Rename a folder, and have the disk know it."""
    source.chmod(0o700)
    source.rename(target)
    sync(source.parent)
    sync(target.parent)


def remove(folder: Path) -> None:
    """Remove a tree, of whatever modes."""
    if not folder.exists():
        return
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())):
        path.chmod(0o700)
    shutil.rmtree(folder)


def sync(folder: Path) -> None:
    """Have the disk know a folder's names."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Have the disk know the names of every folder of a tree; a repository's files are synced when they come."""
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        sync(path)

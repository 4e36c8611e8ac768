"""What the programs on a box share: faults and how they are told, the lock, whole files, the description.

Each program has a copy of its own on the box (``hearth/programs.py``). Everything here but ``Fault`` is an effect.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path


class Fault(Exception):
    """What went wrong and what to do, as one sentence; never holds a secret."""


def need_root() -> None:
    """Raise Fault unless root runs the program."""
    if os.geteuid() != 0:
        raise Fault("only root can do this")


def ended(who: str, work: Callable[[], None]) -> int:
    """Do the work and return the exit status: 0, or 1 with one sentence on standard error, which ``who`` begins."""
    try:
        work()
    except Fault as fault:
        sys.stderr.write(f"{who}: {fault}\n")
    except OSError as fault:
        sys.stderr.write(f"{who}: {fault.filename or 'the system'}: {fault.strerror}\n")
    else:
        return 0
    return 1


def description(path: Path) -> str:
    """The text of what the inventory says. Raises Fault when it is missing."""
    try:
        return path.read_text()
    except OSError:
        raise Fault(f"{path} is missing; converge the box again") from None


@contextlib.contextmanager
def locked(path: Path, patience_s: float, busy: str) -> Iterator[None]:
    """Let one run at a time do its work; children inherit the lock. Raises Fault (``busy``) after ``patience_s``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(handle, True)
    try:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Fault(f"{busy}; try again when it has ended") from None
                time.sleep(0.2)
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` survive a power cut (fsync(2): the directory needs one of its own)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: str | bytes, mode: int = 0o600, owned: tuple[str, str] | None = None) -> None:
    """Put a file whole: temporary file beside it, synced, renamed. Safe in a folder that others may write to.

    ``owned``: by which account and group, if not by those of the program.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
            if owned:
                shutil.chown(beside, *owned)
            os.fchmod(file.fileno(), mode)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)

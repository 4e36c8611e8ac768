"""Where the authority's passphrase comes from: a file, or the operator at a terminal; asked for once a process."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from pathlib import Path

from hearth.authority.errors import AuthorityError
from hearth.authority.store import load_tls, require_keys
from hearth.inventory.hosts import Authority

ENVIRONMENT = "HEARTH_AUTHORITY_PASSPHRASE_FILE"
_ATTEMPTS = 3
_known: dict[Path, bytes] = {}  # by the authority's folder, for this process


def passphrase(authority: Authority) -> bytes:
    """The passphrase of ``authority``: from its file, from the file that the environment names, or asked for.

    A passphrase that was typed is tried at once, three times at most. Cached for the process: a run signs for many
    boxes. Raises ``AuthorityError`` when the file is missing, empty or open to others, and when there is neither a file
    nor a terminal.
    """
    if authority.folder not in _known:
        named = os.environ.get(ENVIRONMENT)
        file = authority.passphrase_file or (Path(named) if named else None)
        _known[authority.folder] = read_passphrase_file(file) if file else _ask(authority.folder)
    return _known[authority.folder]


def read_passphrase_file(path: Path) -> bytes:
    """The first line of ``path``; raises ``AuthorityError`` when others may read it, or it is missing or empty."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_bytes()
    except OSError as error:
        raise AuthorityError(f"cannot read the passphrase file {path}: {error.strerror}") from error
    if mode & 0o027:
        raise AuthorityError(f"the passphrase file {path} is open to others: chmod 600 {path}")
    line = text.partition(b"\n")[0].rstrip(b"\r")
    if not line:
        raise AuthorityError(f"the passphrase file {path} is empty: put the passphrase on its first line")
    return line


def _ask(folder: Path) -> bytes:
    if not sys.stdin.isatty():
        raise AuthorityError(
            "the fleet's authority is locked and nobody is at a terminal to open it: set authority.passphrase_file in "
            f"the inventory's local.yaml, or name the file in {ENVIRONMENT}"
        )
    require_keys(folder)
    return _typed(folder, _ATTEMPTS)


def _typed(folder: Path, attempts: int) -> bytes:
    typed = getpass.getpass(f"Passphrase of the fleet's authority in {folder}: ").encode()
    try:
        load_tls(folder, typed)
    except AuthorityError:
        if attempts == 1:
            raise
        return _typed(folder, attempts - 1)
    return typed

"""Where a run's desired state comes from: the inventory's files and their commit, the operator, the versions."""

from __future__ import annotations

import getpass
import hashlib
import platform
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hearth.fleet.events import Origin, Versions


def origin(folder: Path, signer: str | None = None) -> Origin:
    """The origin of a run over the inventory in ``folder``. ``signer``: who signed its commit, if that was verified."""
    commit, dirty = commit_of(folder)
    return Origin(who(), commit, dirty, inventory_digest(folder), versions(), signer)


def who() -> str:
    """The account on this machine: NAME@MACHINE."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


def versions() -> Versions:
    """The versions of what runs here."""
    return Versions(_version("hearth"), _version("pyinfra"), platform.python_version())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def inventory_digest(folder: Path) -> str:
    """The SHA-256 (hex) of an inventory's files, of their names and contents; local.yaml, a machine's own, left out."""
    digest = hashlib.sha256()
    files = [
        folder / "fleet.yaml",
        *(path for name in ("households", "collected") for path in (folder / name).glob("*")),
    ]
    for path in sorted(files):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def commit_of(folder: Path) -> tuple[str | None, bool]:
    """The commit that is checked out where an inventory lies, and whether the inventory's files differ from it.

    None outside a git repository, or without git.
    """
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if commit is None:
        return None, False
    return commit.strip(), bool(_git(folder, "status", "--porcelain", "--", "."))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None

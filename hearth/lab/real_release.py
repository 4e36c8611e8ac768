"""The real release in place of the stand-in: a copy of an inventory whose ownCloud pin is a tarball on this machine.

HEARTH_OWNCLOUD_TARBALL    the file; without it the inventory stays as it is
HEARTH_OWNCLOUD_VERSION    its version, as its own version.php says it
HEARTH_OWNCLOUD_SHA256     its SHA-256, to be compared; without it the one that the file has
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from hearth.lab.process import LabError
from hearth.lab.topology import RELEASES_NAME

TARBALL, VERSION, SHA256 = "HEARTH_OWNCLOUD_TARBALL", "HEARTH_OWNCLOUD_VERSION", "HEARTH_OWNCLOUD_SHA256"
SERVED_BELOW = "given"
"""The release server's folder for it, since a stand-in may have a tarball of the same name."""
TOP = "owncloud"
# An inventory's value goes on one line, and an RSA key has some 700 characters.
LONGEST_LINE = 10_000


def tarball(environ: Mapping[str, str]) -> Path | None:
    """The tarball that the environment names, or None. Raises ``LabError`` when it is no file."""
    named = environ.get(TARBALL)
    if not named:
        return None
    path = Path(named).absolute()
    if not path.is_file():
        raise LabError(f"{TARBALL} names {path}, which is not a file.")
    return path


def with_real_release(inventory: Path, folder: Path, environ: Mapping[str, str]) -> Path:
    """Return the inventory to converge: ``inventory``, or its copy in ``folder`` that pins the environment's tarball.

    What belongs to a machine (local.yaml, authority/, collected/) is not copied, and what is there in ``folder`` stays.
    Apps that the tarball does not bring are left out. Raises ``LabError`` with a sentence when the environment does
    not suffice.
    """
    path = tarball(environ)
    if path is None:
        return inventory
    pin, brings = _pin(path, environ), _apps(path)
    shutil.copytree(
        inventory, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("local.yaml", "authority", "collected")
    )
    fleet = _read(folder / "fleet.yaml")
    fleet["releases"] = [*(one for one in fleet["releases"] if one["product"] != "owncloud"), pin]
    _write(folder / "fleet.yaml", fleet)
    for file in sorted((folder / "households").glob("*.yaml")):
        household = _read(file)
        apps = household["owncloud"].get("apps", [])
        household["owncloud"]["apps"] = [app for app in apps if app in brings]
        _write(file, household)
    return folder


def _pin(path: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    version = environ.get(VERSION)
    if not version:
        raise LabError(f"{TARBALL} is set and {VERSION} is not: say which version {path.name} holds, such as 11.0.0.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    wanted = environ.get(SHA256, found).lower()
    if found != wanted:
        raise LabError(f"{path} has the SHA-256 {found}, and {SHA256} says {wanted}: take the right file.")
    return {
        "product": "owncloud",
        "version": version,
        "url": f"http://{RELEASES_NAME}/{SERVED_BELOW}/{quote(path.name)}",
        "sha256": found,
        "archive_top": TOP,
        "php": "8.4",
        "ignore_deprecations": True,
    }


def _apps(path: Path) -> frozenset[str]:
    """The apps that the tarball brings. Raises ``LabError`` when it is no release of ownCloud."""
    try:
        with tarfile.open(path) as archive:
            parts = [name.removeprefix("./").split("/") for name in archive.getnames()]
    except (tarfile.TarError, EOFError, OSError) as fault:
        raise LabError(f"{path} cannot be read as a tarball: {fault}.") from fault
    if not any(part[0] == TOP for part in parts):
        raise LabError(f"{path} has no folder {TOP}/ at its top: it is no release of ownCloud.")
    return frozenset(part[2] for part in parts if len(part) > 2 and part[:2] == [TOP, "apps"])


def _read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(values, allow_unicode=True, width=LONGEST_LINE))

"""What came out of a backup, before it is put in place: whether there is room for it, and whether it is all there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .common import Fault
from .files import files, sha256
from .nightly import SCHEMA
from .system import write_whole

# For the database, which MariaDB keeps beside its dump, and for what a running system writes.
RESERVE_BYTES = 512 << 20


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself. ``users``: files and bytes of each. ``sample``: SHA-256 (hex) by path.

    ``tables``: how many rows each table of the database has.
    """

    household: str
    product: str
    version: str
    taken_at: str
    files: int
    bytes: int
    users: Mapping[str, Mapping[str, int]]
    tables: Mapping[str, int]
    sample: Mapping[str, str]


def parse(raw: Mapping[str, Any]) -> Manifest:
    """Given the manifest as JSON has it, return it. Raises Fault when this program cannot read it."""
    if raw.get("schema") != SCHEMA:
        raise Fault("this backup was made by a newer hearth; converge this box with that one first")
    try:
        return Manifest(
            household=raw["household"],
            product=raw["product"],
            version=raw["version"],
            taken_at=raw["taken_at"],
            files=raw["files"],
            bytes=raw["bytes"],
            users=raw["users"],
            tables=raw["database"],
            sample={"database.sql": raw["dump"]["sha256"]}
            | {entry["path"]: entry["sha256"] for entry in raw["sample"]},
        )
    except KeyError as fault:
        raise Fault(f"the backup's manifest says nothing of {fault}; try an older backup") from None


def describe(folder: Path, manifest: Manifest, snapshot: str) -> None:
    """Say beside what came out of the backup what ``owncloud adopt`` wants to know of it."""
    about = {
        "of": snapshot,
        "product": manifest.product,
        "version": manifest.version,
        "tables": dict(manifest.tables),
    }
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(folder / "about.json", json.dumps(about) + "\n")


def need_room(folder: Path, wanted_bytes: int) -> None:
    """Raise Fault unless the disk of ``folder`` has room for ``wanted_bytes``, of which some may lie there already."""
    here = sum(entry.lstat().st_blocks * 512 for entry in folder.rglob("*"))
    needed = wanted_bytes + wanted_bytes // 20 + RESERVE_BYTES - here
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Fault(
            f"the backup needs {needed / 1e6:.0f} MB free on the disk of {folder}, and it has {free / 1e6:.0f} MB; "
            "give this box a larger disk"
        )


def compare(folder: Path, manifest: Manifest) -> None:
    """Raise Fault unless the files in ``folder`` are what the manifest says."""
    data = folder / "data"
    if not (data.is_dir() and (folder / "database.sql").is_file() and (folder / "config/config.php").is_file()):
        raise Fault("the backup does not hold files, database and configuration; try an older one")
    count = size = 0
    users: dict[str, dict[str, int]] = {}
    for path, size_bytes, _ in files(data):
        count += 1
        size += size_bytes
        parts = path.relative_to(data).parts
        if len(parts) > 2 and parts[1] == "files":
            user = users.setdefault(parts[0], {"files": 0, "bytes": 0})
            user["files"] += 1
            user["bytes"] += size_bytes
    for what, found, wanted in (
        *(
            (f"files of {name}", users.get(name, {}).get("files", 0), user["files"])
            for name, user in manifest.users.items()
        ),
        ("files", count, manifest.files),
        ("bytes", size, manifest.bytes),
    ):
        if found != wanted:
            raise Fault(f"the backup is not whole: {found} {what}, and its manifest says {wanted}; try an older one")
    for name, digest in manifest.sample.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise Fault(f"{name} in the backup is not what its manifest says; try an older one")

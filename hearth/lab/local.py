"""The inventory's local.yaml: how this machine reaches the lab's hosts, and what it logs in with."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hearth.lab.process import LabError

FIRST_DAY_USER = "root"
FIRST_DAY_PORT = 22


@dataclass(frozen=True)
class Reach:
    """A host on its first day: its address on the bench and the keys that it shows."""

    address: str
    host_keys: tuple[str, ...]


def header(lab: str) -> str:
    """The first line of every local.yaml that lab ``lab`` writes; by it the lab knows its own."""
    return f"# Written by `hearth lab up --name {lab}`, removed by `hearth lab down --name {lab}`.\n"


def check_ours(path: Path, lab: str) -> None:
    """Raise ``LabError`` if ``path`` exists and lab ``lab`` did not write it."""
    if path.exists() and not is_ours(path, lab):
        raise LabError(
            f"{path} was not written by the lab {lab}: move it away, or give the lab a copy of the inventory "
            "with --inventory."
        )


def is_ours(path: Path, lab: str) -> bool:
    """Whether lab ``lab`` wrote the file."""
    try:
        return path.read_text(errors="replace").startswith(header(lab))
    except OSError:
        return False


def remove(path: Path, lab: str) -> None:
    """Remove the file if lab ``lab`` wrote it, and what `hearth collect` has written of the hosts that it names.

    The hosts go with their keys; of new hosts with the same names, the old keys would be taken for an attack.
    """
    if not is_ours(path, lab):
        return
    collected = path.with_name("collected")
    for name in (yaml.safe_load(path.read_text()) or {}).get("hosts", {}):
        (collected / f"{name}.yaml").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not there, or what hosts of others told is still in it
        collected.rmdir()
    path.unlink()


def write(
    path: Path,
    lab: str,
    operator: tuple[str, Path],
    bench_identity: Path,
    authority: tuple[Path, Path] | None,
    hosts: Mapping[str, Reach],
) -> None:
    """Replace the file. ``operator``: name and private key file; ``authority``: its folder and passphrase file."""
    content: dict[str, Any] = {"operator": {"name": operator[0], "identity": str(operator[1])}}
    if authority:
        content["authority"] = {"folder": str(authority[0]), "passphrase_file": str(authority[1])}
    content["hosts"] = {
        name: {
            "address": reach.address,
            "port": FIRST_DAY_PORT,
            "user": FIRST_DAY_USER,
            "identity": str(bench_identity),
            "host_keys": list(reach.host_keys),
        }
        for name, reach in hosts.items()
    }
    new = path.with_name(".local.yaml.new")
    new.write_text(header(lab) + yaml.safe_dump(content, sort_keys=False, width=1000))
    new.replace(path)

"""The machine's register of labs (``/var/lib/hearth-lab/register.json``).

It gives each lab a number of its own, from which its addresses on the bench come, and remembers where the lab keeps
its state, which inventory it is for, and what the machine looked like before the first of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from hearth.lab.process import LabError
from hearth.lab.state import locked, read_json, write_json
from hearth.lab.topology import LAB_NUMBERS

FOLDER = Path("/var/lib/hearth-lab")
FILE = FOLDER / "register.json"
LOCK = ".register"
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
"""All hosts' roots are one user to the kernel, and each systemd takes some six; the usual 128 end at twenty hosts."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Entry:
    """One lab: its number, its state folder, its inventory.

    ``made_authority``: the inventory's authority is the lab's, and goes with it.
    """

    number: int
    folder: str
    inventory: str
    made_authority: bool = False


@dataclass(frozen=True)
class Register:
    """All labs of the machine, and its settings as the first of them found them in the boot ``boot_id``."""

    labs: dict[str, Entry] = field(default_factory=dict)
    ip_forward: str = ""
    inotify_instances: str = ""
    boot_id: str = ""


def read() -> Register:
    """The register; an empty one if there is none."""
    raw = read_json(FILE) or {}
    labs = {name: Entry(**one) for name, one in raw.get("labs", {}).items()}
    return Register(labs, raw.get("ip_forward", ""), raw.get("inotify_instances", ""), raw.get("boot_id", ""))


def folder(lab: str) -> Path:
    """Where a lab keeps its state: where it was entered with, else ``$HEARTH_LAB_STATE/LAB`` or FOLDER/LAB."""
    known = read().labs.get(lab)
    path = Path(known.folder) if known else Path(os.environ.get("HEARTH_LAB_STATE") or FOLDER).absolute() / lab
    # The path becomes part of mount options.
    if any(character in str(path) for character in ':,\\"\n'):
        raise LabError(f"The lab's folder {path} must not hold a colon, comma, quote or backslash.")
    return path


def entry(lab: str) -> Entry:
    """The entry of a lab; raise ``LabError`` if it is down."""
    found = read().labs.get(lab)
    if found is None:
        raise LabError(f"The lab {lab} is down: `hearth lab up --name {lab}` starts it.")
    return found


def enter(lab: str, inventory: Path, made_authority: bool, taken: Collection[int]) -> Entry:
    """Enter a lab for an inventory, or return its entry if it is there already.

    ``taken``: lab numbers whose addresses the machine uses for something else. Raises ``LabError`` when the lab is up
    for another inventory, another lab is for this one, or no number is left.
    """
    with locked(LOCK):
        register = read()
        path = str(inventory.resolve())
        for name, other in register.labs.items():
            if name == lab and other.inventory != path:
                raise LabError(
                    f"The lab {lab} is up for {other.inventory}: take another --name, or run "
                    f"`hearth lab down --name {lab}` first."
                )
            if name != lab and other.inventory == path:
                raise LabError(
                    f"The lab {name} is up for {path}: give this one a copy of the inventory, or run "
                    f"`hearth lab down --name {name}` first."
                )
        if lab not in register.labs:
            used = {other.number for other in register.labs.values()} | set(taken)
            number = next((number for number in LAB_NUMBERS if number not in used), None)
            if number is None:
                raise LabError("All lab numbers of this machine are taken: take a lab down first.")
            register = _with_machine(register)
            new = Entry(number, str(folder(lab)), path, made_authority)
            write_json(FILE, asdict(replace(register, labs={**register.labs, lab: new})))
        return read().labs[lab]


def leave(lab: str) -> None:
    """Strike a lab out; the last one puts the machine's settings back to what the first one found."""
    with locked(LOCK):
        register = read()
        labs = {name: one for name, one in register.labs.items() if name != lab}
        if labs:
            write_json(FILE, asdict(replace(register, labs=labs)))
            return
        if lab in register.labs and register.boot_id == BOOT_ID.read_text():
            for setting, found in (
                (IP_FORWARD, register.ip_forward),
                (INOTIFY_INSTANCES, register.inotify_instances),
            ):
                if found:
                    setting.write_text(found)
        FILE.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            FOLDER.rmdir()


def _with_machine(register: Register) -> Register:
    """With what the machine looks like, unless a lab of this boot has noted it before."""
    boot_id = BOOT_ID.read_text()
    if register.boot_id == boot_id:
        return register
    return replace(
        register,
        ip_forward=IP_FORWARD.read_text(),
        inotify_instances=INOTIFY_INSTANCES.read_text(),
        boot_id=boot_id,
    )

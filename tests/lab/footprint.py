"""What a lab could leave on the machine: everything that a test compares before and after."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from dataclasses import dataclass, fields
from pathlib import Path

from hearth.lab import register
from hearth.lab.topology import Names


@dataclass(frozen=True)
class Footprint:
    """Mounts, network namespaces, links, nftables tables, control groups and files of the machine."""

    mounts: frozenset[str]
    namespaces: frozenset[str]
    links: frozenset[str]
    tables: frozenset[str]
    groups: frozenset[str]
    files: frozenset[str]

    def things(self) -> set[str]:
        """All of it."""
        return {thing for one in fields(self) for thing in getattr(self, one.name)}


def footprint() -> Footprint:
    """The machine as it is."""
    folders = ("/var/lib/hearth-lab", "/run/lock/hearth-lab", "/run/systemd/nspawn/propagate")
    return Footprint(
        mounts=frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        namespaces=frozenset(_names("/run/netns")),
        links=frozenset(one["ifname"] for one in json.loads(_output("ip", "-json", "link"))),
        tables=frozenset(_output("nft", "list", "tables").splitlines()),
        groups=frozenset(str(path) for path in Path("/sys/fs/cgroup").glob("**/hearth-lab/*/")),
        files=frozenset(f"{folder}/{name}" for folder in folders for name in _names(folder)),
    )


class Watch:
    """The machine at one moment, to compare it with later. What other labs do meanwhile does not count."""

    def __init__(self, lab: str) -> None:
        self.lab = lab
        self.before = footprint().things()
        self.others = self._others()

    def more(self) -> set[str]:
        """What the machine has more than then."""
        found = footprint().things() - self.before
        self.others |= self._others()
        names = [Names(name) for name in self.others]
        parts = [part for one in names for part in (one.namespace_prefix, one.link_prefix, one.nft_table)]
        parts += [f"/{name}" for name in self.others] + ["register", ".bases.lock"]
        return {thing for thing in found if not any(part in thing for part in parts)}

    def left_over(self) -> set[str]:
        """What the machine still has more than then once the kernel had five seconds to clear up."""
        deadline = time.monotonic() + 5
        while (more := self.more()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return more

    def _others(self) -> set[str]:
        return set(register.read().labs) - {self.lab}


def processes_of(lab: str) -> set[int]:
    """Every process in the lab's network namespaces, or whose command line names the lab."""
    prefix = Names(lab).namespace_prefix
    inodes = {Path("/run/netns", name).stat().st_ino for name in _names("/run/netns") if name.startswith(prefix)}
    return processes_in(inodes) | {pid for pid in _pids() if f"{prefix}".encode() in _command_line(pid)}


def processes_in(inodes: set[int]) -> set[int]:
    """Every process whose network namespace is one of these."""
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/ns/net").stat().st_ino in inodes:
                found.add(pid)
    return found


def alive(pids: set[int]) -> set[int]:
    """Those that still run; one that ended and that nobody has asked about yet does not."""
    return {pid for pid in pids if _state(pid) not in ("", "Z", "X")}


def program(pid: int) -> str:
    """The name of what a process runs; empty if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _names(folder: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return [path.name for path in Path(folder).iterdir()]
    return []


def _output(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

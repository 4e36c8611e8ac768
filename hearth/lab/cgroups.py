"""Which processes are a lab's: each host has a control group of its own, and everything it starts stays in it.

That makes clean-up certain. A process is the lab's because the kernel says so, not because a number in a file does;
``cgroup.kill`` ends all of a host's at once. It also keeps hosts apart: without a group of its own, every nspawn
host of one session would take ``/payload`` for its root and stop its neighbours' services.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from hearth.lab.process import LabError

PARENT = "hearth-lab"


def mount_point() -> Path:
    """Where version 2 of the control groups is mounted. Raises ``LabError`` if it is not."""
    for where, kind in _mounts():
        if kind == "cgroup2":
            return where
    raise LabError("No version 2 control groups are mounted: run `mount -t cgroup2 none /sys/fs/cgroup/unified`.")


def group(lab: str, member: str = "") -> Path:
    """The control group of a lab, or of one member of it (a host, or ``@releases``)."""
    return mount_point() / PARENT / lab / member


def create(folder: Path) -> None:
    """Make a control group, and those above it, unless it is there."""
    for _ in range(3):
        # Another lab that goes down may take the common parent away between two steps.
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            return
    raise LabError(f"The control group {folder} cannot be made.")


def pids(folder: Path) -> list[int]:
    """The processes in a control group and all below it, the oldest first."""
    found: list[int] = []
    for path in _tree(folder):
        with contextlib.suppress(OSError):
            found += [int(line) for line in (path / "cgroup.procs").read_text().split()]
    return sorted(found)


def is_populated(folder: Path) -> bool:
    """Whether any process lives in the group or below it."""
    try:
        return "populated 1" in (folder / "cgroup.events").read_text()
    except OSError:
        return False


def wait_empty(folder: Path, timeout_s: float) -> bool:
    """Wait until nothing lives in the group; False when ``timeout_s`` seconds did not suffice."""
    deadline = time.monotonic() + timeout_s
    while is_populated(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def terminate(folder: Path, program: str | None = None) -> None:
    """Send SIGTERM to each process of the group, or to each that runs ``program``.

    The process is held by a file descriptor while its group is looked at once more, so that a number which another
    process got meanwhile never receives the signal.
    """
    for pid in pids(folder):
        with contextlib.suppress(OSError):
            if program and Path(f"/proc/{pid}/comm").read_text().strip() != program[:15]:
                continue
            descriptor = os.pidfd_open(pid)
            try:
                if pid in pids(folder):
                    signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            finally:
                os.close(descriptor)


def kill(folder: Path) -> None:
    """End every process in the group and below it at once, and wait until they are gone."""
    with contextlib.suppress(FileNotFoundError):
        (folder / "cgroup.kill").write_text("1")
    if not wait_empty(folder, 20):
        raise LabError(f"The processes of {folder} do not die: {pids(folder)}.")


def remove(folder: Path) -> None:
    """Remove a control group and all below it; nothing may live in it.

    Where version 1 hierarchies are mounted too, nspawn makes the same group in systemd's, so all are looked at.
    """
    name = folder.relative_to(mount_point())
    for where, _ in _mounts():
        for path in reversed(_tree(where / name)):
            with contextlib.suppress(FileNotFoundError):
                path.rmdir()
        with contextlib.suppress(OSError):
            (where / PARENT).rmdir()


def _mounts() -> list[tuple[Path, str]]:
    """Where control groups are mounted, and of which kind (``cgroup`` or ``cgroup2``)."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [(Path(where), kind) for _, where, kind, *_ in lines if kind in ("cgroup", "cgroup2")]


def _tree(folder: Path) -> list[Path]:
    """The folder and all below it, parents first; os.walk does not mind folders that vanish meanwhile."""
    return [Path(path) for path, _, _ in os.walk(folder)]

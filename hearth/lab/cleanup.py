"""Taking a lab down, in whatever state it is.

Nothing here trusts a list of what was made: processes are found by control group and network namespace, the rest by
names (``network.destroy``) and folders.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from hearth.lab import cgroups, hosts, keys, local, network, register
from hearth.lab.process import LabError, run
from hearth.lab.topology import Names

SHUT_DOWN_S = 10


def end_processes(names: Names) -> None:
    """Shut all hosts down, kill what still lives after ten seconds, and whoever else sits in the lab's namespaces."""
    group = cgroups.group(names.lab)
    # First those that no shutting down of a host ends.
    for own in group.glob("@*"):
        cgroups.kill(own)
    cgroups.terminate(group, "systemd-nspawn")
    cgroups.wait_empty(group, SHUT_DOWN_S)
    cgroups.kill(group)
    cgroups.remove(group)
    deadline = time.monotonic() + SHUT_DOWN_S
    while strays := network.processes(names) - {os.getpid()}:
        if time.monotonic() > deadline:
            raise LabError(f"The processes {sorted(strays)} in the lab's network do not die.")
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                _kill_stray(pid, names)
        time.sleep(0.05)
    hosts.remove_traces(names)


def remove_files(lab: str, folder: Path) -> None:
    """Remove a lab's state folder, and what the lab put into its inventory."""
    entry = register.read().labs.get(lab)
    if entry is not None:
        inventory = Path(entry.inventory)
        local.remove(inventory / "local.yaml", lab)
        if local.is_ours(keys.acme_root(inventory), lab):
            keys.acme_root(inventory).unlink()
        if entry.made_authority:
            shutil.rmtree(keys.public_authority(inventory), ignore_errors=True)
    # The lab mounts nothing there, but somebody may have, and what is mounted must not be removed with the folder.
    for mounted in sorted(_mounts_below(folder), reverse=True):
        run(["umount", mounted])
    if folder.is_dir():
        shutil.rmtree(folder)


def _kill_stray(pid: int, names: Names) -> None:
    """Kill a process in the lab's network; the descriptor makes sure that it is still the one that was listed."""
    descriptor = os.pidfd_open(pid)
    try:
        if pid in network.processes(names):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [where for where in (line.split()[4] for line in lines) if where.startswith(f"{folder}/")]

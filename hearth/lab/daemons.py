"""Real daemons in the lab's network: the name server, the certificate authority, the UPnP daemon of a router.

Each runs from the Debian base ``services``, not from this machine's packages, as a plain process of a network
namespace. As with a host (``hosts``), its files are an overlay that is mounted in a mount namespace of its own, and its
processes have a control group of their own: they are found and ended without a record, and with them the mounts go.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hearth.lab import cgroups
from hearth.lab.hosts import CLEAN_ENVIRONMENT
from hearth.lab.process import LabError, run
from hearth.lab.topology import Names

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 5

# What the script is given to run happens inside: users' names, for one, are the base's and not this machine's.
LAUNCH = """\
echo 0 > "$1/cgroup.procs"
mount -t overlay -o "$2" hearth-lab "$3"
mount -t proc proc "$3/proc"
exec nsenter --net="/run/netns/$4" chroot "$3" sh -ec "$5"
"""


@dataclass(frozen=True)
class Daemon:
    """A daemon ``name`` of a lab, in network ``namespace``. ``folder``: its place in the lab's state folder."""

    names: Names
    name: str
    folder: Path
    namespace: str

    @property
    def group(self) -> Path:
        """The control group of all its processes; no host's name begins with an at sign."""
        return cgroups.group(self.names.lab, f"@{self.name}")

    @property
    def upper(self) -> Path:
        """Its own files: what it was configured with, and what it wrote."""
        return self.folder / "upper"

    @property
    def log(self) -> Path:
        """What it printed since it was last started."""
        return self.folder / "log"


def configure(daemon: Daemon, files: Mapping[str, str]) -> bool:
    """Write the daemon's files (path below its root -> text), readable by root alone; whether any of them changed."""
    changed = False
    for path, text in files.items():
        file = daemon.upper / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_text() != text:
            file.touch(mode=0o600)
            file.write_text(text)
            changed = True
    return changed


def is_running(daemon: Daemon) -> bool:
    """Whether any process of the daemon lives."""
    return cgroups.is_populated(daemon.group)


def start(daemon: Daemon, base: Path, script: str, environment: Mapping[str, str] | None = None) -> None:
    """Run ``script``, which ends with ``exec DAEMON``, as root inside the daemon's files over ``base``; do not wait."""
    work, root = daemon.folder / "work", daemon.folder / "root"
    shutil.rmtree(work, ignore_errors=True)
    for folder in (work, root, daemon.upper):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
    cgroups.create(daemon.group)
    options = f"volatile,lowerdir={base},upperdir={daemon.upper},workdir={work}"
    launcher = ["setsid", "--fork", "unshare", "--mount", "--propagation", "slave", "sh", "-ec", LAUNCH, "sh"]
    with daemon.log.open("wb") as log:
        subprocess.run(
            [*launcher, str(daemon.group), options, str(root), daemon.namespace, script],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**CLEAN_ENVIRONMENT, **(environment or {})},
            cwd="/",
            check=True,
        )


def wait(daemon: Daemon, is_ready: Callable[[], bool]) -> None:
    """Wait until a daemon that was started ``is_ready``.

    Raises ``LabError`` with the last line that it printed when it ends, or is not ready after a minute.
    """
    started_at = time.monotonic()
    while not is_ready():
        waited_s = time.monotonic() - started_at
        if waited_s > START_TIMEOUT_S or (waited_s > 1 and not is_running(daemon)):
            lines = daemon.log.read_text(errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
            raise LabError(f"The lab's {daemon.name} does not start; {daemon.log} ends with: {last}")
        time.sleep(0.05)


def stop(daemon: Daemon) -> None:
    """End the daemon: it is asked to first, so that it leaves its files in order."""
    cgroups.terminate(daemon.group)
    cgroups.wait_empty(daemon.group, STOP_TIMEOUT_S)
    cgroups.kill(daemon.group)
    cgroups.remove(daemon.group)


def execute(daemon: Daemon, argv: Sequence[str], *, stdin: str | None = None) -> str:
    """Run a program of the base as root beside the daemon, with its files and in its network; return what it prints.

    Raises ``LabError`` when it fails, or when the daemon does not run.
    """
    pids = cgroups.pids(daemon.group)
    if not pids:
        raise LabError(
            f"The lab's {daemon.name} does not run: start it with `hearth lab up --name {daemon.names.lab}`."
        )
    inside = ["nsenter", f"--target={pids[0]}", "--mount", "--net", "--root", "--wdns=/", "--", *argv]
    return run(inside, stdin=stdin, env=CLEAN_ENVIRONMENT).stdout


def listens(namespace: str, port: int) -> bool:
    """Whether somebody in a network namespace accepts TCP connections at a port."""
    return bool(run(["ip", "netns", "exec", namespace, "ss", "-Htln", f"sport = :{port}"]).stdout.strip())

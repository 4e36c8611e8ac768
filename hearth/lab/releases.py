"""The lab's release server: an HTTP server on its internet that hands out the pinned releases.

The hosts reach it as http://releases.hearth.lab/FILE, through their routers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import hearth
from hearth.lab import cgroups, real_release
from hearth.lab.process import LabError, run
from hearth.lab.topology import RELEASES_ADDRESS, RELEASES_NAME, Names

GROUP = "@releases"
URL = f"http://{RELEASES_NAME}/"
BUILDER = Path(hearth.__file__).parents[1] / "tests/release/build.py"
"""The program that makes the project's own small release; it stands in the repository, not in an installed package."""


def fill(folder: Path, source: Path | None) -> None:
    """Put the releases into ``folder``: those of ``source``, or else the project's own, and the tarball of
    ``$HEARTH_OWNCLOUD_TARBALL``.

    Raises ``LabError`` when one that was named is not there or the project's own cannot be built.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if source is not None:
        if not source.is_dir():
            raise LabError(f"{source} is not a folder of releases.")
        shutil.copytree(source, folder, dirs_exist_ok=True)
    elif BUILDER.exists():
        run([sys.executable, str(BUILDER), str(folder)], timeout_s=600)
    if tarball := real_release.tarball(os.environ):
        link = folder / real_release.SERVED_BELOW / tarball.name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(tarball)


def serve(names: Names, folder: Path, log: Path) -> None:
    """Start the server unless it runs, and wait until it listens."""
    group = cgroups.group(names.lab, GROUP)
    if cgroups.is_populated(group):
        return
    cgroups.create(group)
    server = [sys.executable, "-m", "http.server", "80", "--bind", str(RELEASES_ADDRESS), "--directory", str(folder)]
    launcher = ["setsid", "--fork", "sh", "-ec", 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"', "sh", str(group)]
    with log.open("wb") as output:
        subprocess.run(
            [*launcher, "ip", "netns", "exec", names.internet, *server],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            check=True,
        )
    deadline = time.monotonic() + 15
    while not _listens(names):
        if time.monotonic() > deadline:
            raise LabError(f"The release server does not start; see {log}.")
        time.sleep(0.05)


def stop(names: Names) -> None:
    """End the server."""
    group = cgroups.group(names.lab, GROUP)
    cgroups.kill(group)
    cgroups.remove(group)


def _listens(names: Names) -> bool:
    sockets = run(["ip", "netns", "exec", names.internet, "ss", "-Htln", "sport = :80"])
    return bool(sockets.stdout.strip())

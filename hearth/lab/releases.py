"""The lab's release server: an HTTP server on its internet that hands out the pinned releases.

The hosts reach it as http://releases.hearth.lab/FILE, through their routers. As http://address.hearth.lab/ it tells
whoever asks from which address he comes.
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
from hearth.lab.daemons import listens
from hearth.lab.process import LabError, run
from hearth.lab.topology import ADDRESS_NAME, RELEASES_ADDRESS, RELEASES_NAME, Names

GROUP = "@releases"
URL = f"http://{RELEASES_NAME}/"
BUILDER = Path(hearth.__file__).parents[1] / "tests/release/build.py"
"""The program that makes the project's own small release; it stands in the repository, not in an installed package."""

# Given its address, the folder, and the name under which it tells addresses.
SERVER = """
import functools, http.server, sys

class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.headers["Host"] != sys.argv[3]:
            return super().do_GET()
        body = self.client_address[0].encode() + b"\\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

handler = functools.partial(Handler, directory=sys.argv[2])
http.server.ThreadingHTTPServer((sys.argv[1], 80), handler).serve_forever()
"""


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
    server = [sys.executable, "-c", SERVER, str(RELEASES_ADDRESS), str(folder), ADDRESS_NAME]
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
    while not listens(names.internet, 80):
        if time.monotonic() > deadline:
            raise LabError(f"The release server does not start; see {log}.")
        time.sleep(0.05)

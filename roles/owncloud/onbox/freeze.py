"""A view of the cloud as it is at one moment, for a backup that takes hours.

Database and files belong together: a file that is moved while a backup walks the tree is in neither place, and a row
whose file came later leads nowhere (both products' manuals ask for maintenance mode for the whole backup). Nobody
shall wait for an upload over a home line, though. So the cloud is closed for the seconds in which the database is
dumped and each file gets a second name (a hard link) in the view, and is open again before the first byte is sent.

The view outlives what happens next: the products write an upload beside its place and rename it, so the link keeps the
old content. What an app rewrites in place is seen as it is when it is read; ``files:scan`` mends its size in a restore.
The dump comes first, then the links: a request that was under way when the cloud closed can make a file newer than its
row, which ``files:scan`` mends too, and never the other way about.

A mark on the disk says that the cloud is closed for this reason; every verb of the program, and the unit at boot, opens
it again first.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import database
from .common import Fault, sync_folder
from .serving import ask_status
from .settings import Paths, Settings
from .setup import is_installed
from .system import systemctl, write_whole
from .tree import STAMP, config_text, keep_config, occ, read_stamp, says

TIMER = "hearth-cloud-cron.timer"
CLOSED_S = 30
# Made anew by the cloud when they are missing, or of use to nobody after a restore. What lies in the trash and old
# versions of files stay in: the database speaks of them, and restic keeps a file that only moved once.
NOT_IN_A_USERS_FOLDER = frozenset({"cache", "thumbnails", "uploads"})
NOT_ON_TOP = re.compile(r"updater-|.*\.log(\.\d+)?$")
NOT_AMONG_PREVIEWS = frozenset({"preview"})
UNFINISHED = re.compile(r".*\.ocTransferId\d+\.part$")
SECRET_OF_THE_BOX = re.compile(r"('dbpassword'\s*=>\s*)'(?:[^'\\]|\\.)*'")


@dataclass
class Tally:
    """What was linked: of each user the files and bytes in ``files``, and all in all."""

    users: dict[str, dict[str, int]] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0

    def count(self, parts: tuple[str, ...], size_bytes: int) -> None:
        """Count a file by the parts of its path below the data folder."""
        self.files += 1
        self.bytes += size_bytes
        if len(parts) > 2 and parts[1] == "files":
            user = self.users.setdefault(parts[0], {"files": 0, "bytes": 0})
            user["files"] += 1
            user["bytes"] += size_bytes


def in_view(parts: tuple[str, ...]) -> bool:
    """Whether a path, as its parts below the data folder, belongs in the view."""
    if len(parts) == 1 and NOT_ON_TOP.match(parts[0]):
        return False
    if len(parts) == 2 and parts[0].startswith("appdata_") and parts[1] in NOT_AMONG_PREVIEWS:
        return False
    if len(parts) == 2 and parts[1] in NOT_IN_A_USERS_FOLDER:
        return False
    return not UNFINISHED.match(parts[-1])


def freeze(settings: Settings) -> None:
    """Make the view anew. The cloud is closed meanwhile. Raises Fault, and the cloud is open then."""
    paths = settings.paths
    stamp = read_stamp(paths.tree)
    if stamp is None or not is_installed(settings):
        raise Fault("the cloud is not installed yet, so there is nothing to back up")
    thaw(settings)
    disk = paths.frozen.parent
    if paths.data.stat().st_dev != disk.stat().st_dev:
        raise Fault(f"{paths.data} lies on another disk than {disk}; mount the data disk at {disk}")
    paths.frozen.mkdir(mode=0o700)
    keep_config(settings)
    copy_config(settings)
    begun = time.monotonic()
    taken_at = datetime.now(UTC)
    close(settings)
    try:
        dump = database.dump(paths.frozen / "database.sql", "a backup of the database", *database.ROW_BY_ROW)
        tally = Tally()
        link(paths.data, paths.frozen / "data", (), in_view, tally)
        link(paths.tree / "apps-external", paths.frozen / "apps-external", (), lambda parts: True, Tally())
    finally:
        recover(settings)
    told: dict[str, Any] = {
        "product": stamp.product,
        "version": stamp.version,
        "taken_at": taken_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "closed_s": round(time.monotonic() - begun, 1),
        "users": tally.users,
        "files": tally.files,
        "bytes": tally.bytes,
        "database": dump,
    }
    # Last: a view without it is no view.
    write_whole(paths.frozen / "frozen.json", json.dumps(told, indent=1, sort_keys=True) + "\n")


def thaw(settings: Settings) -> None:
    """Remove the view; the files keep their first names."""
    if settings.paths.frozen.exists():
        shutil.rmtree(settings.paths.frozen)


def copy_config(settings: Settings) -> None:
    """Copy the configuration as it is while the cloud is open, without the password of the box's database account."""
    tree, place = settings.paths.tree, settings.paths.frozen / "config"
    place.mkdir(mode=0o700)
    for path in sorted((tree / "config").glob("*.php")):
        if not path.name.endswith(".sample.php"):
            text = path.read_text(errors="surrogateescape")
            target = place / path.name
            target.write_text(SECRET_OF_THE_BOX.sub(r"\1''", text), errors="surrogateescape")
            target.chmod(0o600)
    shutil.copyfile(tree / "config" / STAMP, place / STAMP)


def close(settings: Settings) -> None:
    """Put the cloud into maintenance mode, unless somebody did, and wait until its web server says so. Raises Fault."""
    if says(config_text(settings.paths.tree), "maintenance"):
        return
    write_whole(mark(settings.paths), "The cloud is closed for the seconds in which a backup begins.\n")
    if timer_is_there():
        systemctl("stop", TIMER)
    try:
        occ(settings, "maintenance:mode", "--on")
        deadline = time.monotonic() + CLOSED_S
        while is_open(settings):  # PHP looks at a changed file after two seconds
            if time.monotonic() > deadline:
                raise Fault("the cloud was put into maintenance mode and serves on; look at Apache and PHP-FPM")
            time.sleep(0.2)
    except BaseException:
        recover(settings)
        raise


def is_open(settings: Settings) -> bool:
    """Whether the web server lets people in; one that does not answer lets nobody in."""
    try:
        return ask_status(settings.web, settings.domain).get("maintenance") is not True
    except (OSError, http.client.HTTPException, ValueError):
        return False


def recover(settings: Settings) -> None:
    """Open a cloud that this program closed for a view; can be interrupted and repeated."""
    if not mark(settings.paths).exists():
        return
    if says(config_text(settings.paths.tree), "maintenance"):
        occ(settings, "maintenance:mode", "--off")
    if timer_is_there():
        systemctl("start", TIMER)
    mark(settings.paths).unlink()
    sync_folder(settings.paths.state)


def mark(paths: Paths) -> Path:
    """The mark that this program closed the cloud."""
    return paths.state / "closed"


def timer_is_there() -> bool:
    """Whether the first converge has come to make the background jobs' timer."""
    return Path("/etc/systemd/system", TIMER).exists()


def link(
    source: Path, target: Path, below: tuple[str, ...], wanted: Callable[[tuple[str, ...]], bool], tally: Tally
) -> None:
    """Give every file below ``source`` a second name below ``target``; folders keep owner, mode and time.

    ``below``: the parts of the path from the top. What vanishes meanwhile was not there. What is neither file, folder
    nor symbolic link is no data of a household.
    """
    about = source.lstat()
    target.mkdir(mode=0o700)
    with os.scandir(source) as entries:
        for entry in entries:
            parts = (*below, entry.name)
            if not wanted(parts):
                continue
            try:
                seen = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(seen.st_mode):
                    link(source / entry.name, target / entry.name, parts, wanted, tally)
                elif stat.S_ISREG(seen.st_mode) or stat.S_ISLNK(seen.st_mode):
                    os.link(entry.path, target / entry.name, follow_symlinks=False)
                    tally.count(parts, seen.st_size)
            except FileNotFoundError:
                continue
    os.chown(target, about.st_uid, about.st_gid)
    target.chmod(stat.S_IMODE(about.st_mode))
    os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))

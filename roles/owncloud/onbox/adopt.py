"""Put the cloud of a backup in the place of the one that this box has: the last step of a restore.

The program that restores lays a folder on the disk of the household's data, with what came out of the backup:

    data/            the household's files
    config/          the configuration of the box that made the backup
    database.sql     a dump of its database
    apps-external/   the apps that the household added itself, if the backup has them
    about.json       of which release it is, and how many rows each table has (``About``)

The journal says how far it came, and is on the disk before each step begins, as an upgrade's (``upgrade``):

    preparing   maintenance mode, and a dump of this box's own database.
                Undo: the kept config.php back, timers on.
    adopting    the folders change places, the database is filled, the product repairs and looks at the files.
                Undo: the folders change places again, the dump into a new database; then ``restored``.
    restored    what this box had is back.
                Undo: the kept config.php back, timers on.
    verified    the household's cloud serves. Only forward: remove what this box had, or keep it aside.

Which folder is in place is told by its inode, since the exchange is one step of the file system.
"""

from __future__ import annotations

import itertools
import json
import os
import pwd
import shutil
import stat
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from . import database
from .common import Fault, sync_folder
from .serving import wait_until_serving
from .settings import Settings
from .setup import HEADING, is_installed, parse_passwords
from .system import WEB, exchange, need_room, run, write_whole
from .tree import (
    UPGRADE_TIMEOUT_S,
    Stamp,
    config_text,
    keep_config,
    occ,
    parse_users,
    read_stamp,
    refused_move,
    restore_config,
    says,
    update_htaccess,
)
from .upgrade import CRON, RESERVE_BYTES, TIMER, cron, is_due, read, reload_php

FOLDERS = ("data", "apps-external")
PURPOSE = "keeping the database before a restore"


@dataclass(frozen=True)
class About:
    """What the backup says of the cloud in it: its release, and the rows of each table. ``of``: which backup it is."""

    of: str
    product: str
    version: str
    tables: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Adoption:
    """How far it came. ``folder``: what was laid there. ``inodes``: of the backup's folders, by name.

    ``of``: which backup it is. ``aside``: where what this box had goes, if it is somebody's.
    """

    phase: str
    of: str
    folder: str
    inodes: dict[str, int]
    aside: str


def read_adoption(settings: Settings) -> Adoption | None:
    """The journal of an adoption that has not ended, or None."""
    raw = read(settings.paths.adoption)
    return Adoption(**raw) if raw else None


def write_adoption(settings: Settings, adoption: Adoption) -> None:
    """Put the journal on the disk before the step that it speaks of."""
    write_whole(settings.paths.adoption, json.dumps(asdict(adoption)) + "\n")


def read_about(folder: Path) -> About:
    """What the folder says of itself. Raises Fault."""
    try:
        raw = json.loads((folder / "about.json").read_text())
        return About(str(raw["of"]), str(raw["product"]), str(raw["version"]), dict(raw["tables"]))
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise Fault(f"{folder} does not hold a cloud to take over ({fault})") from None


def own_data(settings: Settings) -> str:
    """What people have put into this box's own cloud, in words, or the empty string."""
    homes = (path for path in settings.paths.data.glob("*/files") if path.is_dir())
    files = sum(1 for home in homes for path in home.rglob("*") if path.is_file() and not path.is_symlink())
    rows = database.table_rows()
    entries = sum(count for name, count in rows.items() if name.endswith("_calendarobjects"))
    found = [f"{count} {what}" for count, what in ((files, "files"), (entries, "calendar entries")) if count]
    return " and ".join(found)


def refusal(settings: Settings, about: About, *, replacing: bool) -> str:
    """Why this box cannot take over such a cloud, as a sentence, or the empty string. Changes nothing."""
    here = read_stamp(settings.paths.tree)
    if here is None or not is_installed(settings):
        return "this box has no cloud yet; converge it first"
    if is_due(settings):
        return f"this box waits for its upgrade to {settings.pin.version}; converge it with updates.release: now first"
    there = Stamp(about.product, about.version, "")
    if about.product != here.product:
        return (
            f"the backup is of {about.product} {about.version} and this box runs {here.product} {here.version}: one "
            f"product cannot read the other's data; set owncloud.product: {about.product} and begin with a new box"
        )
    if refused_move(there, settings):
        return (
            f"the backup is of {about.version} and this box runs {here.version}, which cannot take it over; "
            f"pin {about.version} or a release that follows it, converge this box, and restore again"
        )
    own = "" if replacing else own_data(settings)
    if own:
        return (
            f"this box's own cloud holds {own} already; say --replace to put the backup in its place (what is here is "
            "then kept aside)"
        )
    return ""


def adopt(settings: Settings, folder: Path, *, replacing: bool) -> str:
    """Take over the cloud in ``folder``, and tell what became of what was here. Raises Fault when nothing changed."""
    about = read_about(folder)
    why = refusal(settings, about, replacing=replacing)
    if why:
        raise Fault(why)
    if says(config_text(settings.paths.tree), "maintenance"):
        raise Fault("somebody put the cloud into maintenance mode; switch it off before a restore")
    need_room(settings.paths.state, 2 * database.size_bytes() + RESERVE_BYTES, PURPOSE)
    keep_config(settings)
    for name in FOLDERS:
        own(folder / name)
    inodes = {name: (folder / name).stat().st_ino for name in FOLDERS if (folder / name).is_dir()}
    adoption = Adoption("preparing", about.of, str(folder), inodes, str(free_name(settings)))
    settings.paths.adopted.unlink(missing_ok=True)
    write_adoption(settings, adoption)
    try:
        prepare(settings)
        adoption = replace(adoption, phase="adopting")
        write_adoption(settings, adoption)
        take_over(settings, folder, about)
    except (Fault, OSError) as fault:
        raise Fault(f"the restore failed: {fault}; {undo(settings)}") from None
    write_adoption(settings, replace(adoption, phase="verified"))
    return recover(settings)


def undo(settings: Settings) -> str:
    """Recover, and tell the outcome, be it good or bad."""
    try:
        return recover(settings)
    except (Fault, OSError) as fault:
        return f"and going back is not complete, the next run goes on with it: {fault}"


def prepare(settings: Settings) -> None:
    """Close this box's own cloud and keep its database."""
    cron("stop", TIMER, CRON)
    occ(settings, "maintenance:mode", "--on")
    if not says(config_text(settings.paths.tree), "maintenance"):
        raise Fault("maintenance:mode --on changed nothing; look whether config.php can be written")
    database.dump(settings.paths.before_adoption, PURPOSE)


def take_over(settings: Settings, folder: Path, about: About) -> None:
    """Put files, database and configuration in place, let the product mend them, see that it serves. Raises Fault."""
    tree = settings.paths.tree
    here = read_stamp(tree)
    if here is None:
        raise Fault(f"{tree} is not from hearth")
    merged = merged_config(settings, folder)
    change_places(settings, read_adoption(settings))
    database.import_foreign(settings, folder / "database.sql")
    compare_rows(about.tables, database.table_rows())
    write_whole(tree / "config/config.php", merged, 0o640, owner=WEB, group=WEB)
    reload_php(settings)
    if about.version == here.version:
        occ(settings, "maintenance:repair", timeout_s=UPGRADE_TIMEOUT_S)
    else:
        occ(settings, "upgrade", good=settings.product.upgraded, timeout_s=UPGRADE_TIMEOUT_S)
    if says(config_text(tree), "maintenance"):
        occ(settings, "maintenance:mode", "--off")
    # The command belongs to an app, and apps do not exist in maintenance mode. The backup's files are newer than its
    # database where somebody wrote meanwhile, and they are what counts.
    occ(settings, "files:scan", "--all", timeout_s=UPGRADE_TIMEOUT_S)
    update_htaccess(settings)
    reload_php(settings)
    wait_until_serving(settings, here.version)


def own(folder: Path) -> None:
    """Give a folder and all that is in it to www-data, readable by nobody else and with no special rights.

    The numbers in a backup are the old box's, and whoever had that one may have set any. Raises Fault for what is
    neither file, folder nor link.
    """
    if not folder.is_dir():
        return
    web = pwd.getpwnam(WEB)
    for parent, folders, files in os.walk(folder):
        give(Path(parent), web, 0o770)
        for name in files:
            give(Path(parent, name), web, 0o660)
        for name in folders:
            if Path(parent, name).is_symlink():
                os.lchown(Path(parent, name), web.pw_uid, web.pw_gid)


def give(path: Path, web: pwd.struct_passwd, widest: int) -> None:
    """Make one entry www-data's, with at most the mode ``widest``; a link's target is left alone."""
    known = path.lstat()
    kinds = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
    if not any(is_one(known.st_mode) for is_one in kinds):
        raise Fault(f"the backup holds something that is neither file nor folder: {path}")
    if (known.st_uid, known.st_gid) != (web.pw_uid, web.pw_gid):
        os.lchown(path, web.pw_uid, web.pw_gid)
    mode = (known.st_mode | 0o600) & widest | (0o700 if widest & 0o100 else 0)
    if not path.is_symlink() and known.st_mode & 0o7777 != mode:
        path.chmod(mode)


def merged_config(settings: Settings, folder: Path) -> bytes:
    """The backup's ``config.php`` with the places and the database account of this box, in maintenance mode.

    What somebody put beside it (``mail.config.php``) goes into it, as the product does with its next write; what hearth
    put there is this box's own. PHP itself reads all of it, as www-data and by standard input: it holds secrets.
    """
    beside = sorted(path for path in (folder / "config").glob("*.config.php") if path.name != "hearth.config.php")
    theirs = [path.read_text(errors="replace") for path in (folder / "config/config.php", *beside)]
    texts = [theirs, [config_text(settings.paths.tree)]]
    program = str(settings.paths.code / "merge-config.php")
    done = run([f"/usr/bin/php{settings.pin.php}", program], stdin=json.dumps(texts).encode(), web=True)
    if done.returncode or b"'instanceid'" not in done.stdout:
        raise Fault("the configuration in the backup cannot be read by PHP")
    return done.stdout


def compare_rows(wanted: dict[str, int], found: dict[str, int]) -> None:
    """Raise Fault unless each table of the manifest has the rows that it had when the backup was made."""
    wrong = [
        f"{name} {found.get(name, 0)} of {count}" for name, count in sorted(wanted.items()) if found.get(name) != count
    ]
    if wrong:
        raise Fault(f"the database of the backup is not whole, rows found and wanted: {', '.join(wrong[:5])}")


def places(settings: Settings) -> dict[str, Path]:
    """Where the folders belong."""
    return {"data": settings.paths.data, "apps-external": settings.paths.tree / "apps-external"}


def in_place(path: Path, inode: int) -> bool:
    """Whether the backup's folder is at ``path``."""
    return path.is_dir() and path.stat().st_ino == inode


def change_places(settings: Settings, adoption: Adoption | None, *, back: bool = False) -> None:
    """Exchange the backup's folders with the box's own, or ``back``; what is where it belongs is left alone."""
    if adoption is None:
        return
    for name, inode in adoption.inodes.items():
        place = places(settings)[name]
        if in_place(place, inode) == back:
            exchange(place, Path(adoption.folder) / name)


def recover(settings: Settings) -> str:
    """Finish an adoption that ended midway, back or forward, and return what was done as a sentence, or nothing.

    Can be interrupted and repeated at any point. Raises Fault when it cannot go on by itself.
    """
    paths, adoption = settings.paths, read_adoption(settings)
    if adoption is None:
        return ""
    if adoption.phase == "adopting":
        change_places(settings, adoption, back=True)
        reload_php(settings)
        database.restore(settings, paths.before_adoption)
        adoption = replace(adoption, phase="restored")
        write_adoption(settings, adoption)
    told = "this box has what it had before"
    if adoption.phase == "verified":
        keep_config(settings)
        forget_passwords(settings)
        write_whole(paths.adopted, json.dumps({"of": adoption.of}) + "\n")
        told = keep_aside(settings, adoption)
    else:
        restore_config(settings)
        reload_php(settings)
    cron("start", TIMER)
    paths.before_adoption.unlink(missing_ok=True)
    paths.before_adoption.with_suffix(".part").unlink(missing_ok=True)
    paths.adoption.unlink()
    sync_folder(paths.state)
    return told


def forget_passwords(settings: Settings) -> None:
    """Take the passwords that this box made off its sheet: who came with the backup has the password of before."""
    path = settings.paths.passwords
    if not path.exists():
        return
    came = parse_users(occ(settings, "user:list", "--output=json"))
    left = {name: word for name, word in parse_passwords(path.read_text()).items() if name not in came}
    write_whole(path, HEADING + "".join(f"{name}: {word}\n" for name, word in left.items()))


def free_name(settings: Settings) -> Path:
    """A place for what this box had, beside the household's data."""
    names = (settings.paths.data.with_name(f"replaced-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def keep_aside(settings: Settings, adoption: Adoption) -> str:
    """Keep what this box had before, if people had put something there, and say where; remove it otherwise."""
    old, aside = Path(adoption.folder) / "data", Path(adoption.aside)
    part = aside.with_name(f".{aside.name}")
    theirs = old.is_dir() and any(path.is_file() for home in old.glob("*/files") for path in home.rglob("*"))
    if theirs or part.exists():
        part.mkdir(mode=0o700, exist_ok=True)
        if theirs:
            shutil.copyfile(settings.paths.before_adoption, part / "database.sql")
            old.replace(part / "data")
        part.replace(aside)
        sync_folder(aside.parent)
    shutil.rmtree(adoption.folder, ignore_errors=True)
    return f"what this box held before is kept in {aside}" if aside.exists() else "the household's cloud is in place"


def waits(settings: Settings) -> bool:
    """Whether an adoption has not ended."""
    return read_adoption(settings) is not None

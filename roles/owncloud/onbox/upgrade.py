"""From one release to the next, or back: an upgrade ends on the new version, serving, or on the old one, serving.

The journal says how far an upgrade came. It is on the disk before each step begins, so a run that finds one knows what
to undo (undo is registered before the act, as certbot's reverter does):

    preparing   maintenance mode, dump, copies. The old tree serves; the database is untouched.
                Undo: the kept config.php (without maintenance mode) back, timers on.
    upgrading   the trees are exchanged and occ upgrade runs. The dump is complete.
                Undo: the old tree back, still in maintenance mode; the dump into a new database; then ``restored``.
    restored    old tree and old data are back. From here the dump is never used again: the household writes anew.
                Undo: the kept config.php back, timers on.
    verified    the new version serves. Only forward: remove old tree and dump.

Which tree is in place is read from its stamp, never from the journal: the exchange is one step of the file system.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from . import archive, database
from .common import Fault, sync_folder
from .serving import wait_until_serving
from .settings import Paths, Settings, beside
from .setup import config_digest, is_installed
from .system import exchange, last_words, need_room, run, size_bytes, systemctl, write_whole
from .tree import (
    STAMP,
    UPGRADE_TIMEOUT_S,
    config_text,
    keep_config,
    occ,
    read_stamp,
    refused_move,
    restore_config,
    says,
    stamp_of,
    update_htaccess,
    write_stamp,
)

TIMER, CRON = "hearth-cloud-cron.timer", "hearth-cloud-cron.service"
UNITS = Path("/etc/systemd/system")
INTERRUPTIONS = 3
RESERVE_BYTES = 256 << 20


@dataclass(frozen=True)
class Journal:
    """How far the upgrade from one release (version, SHA-256) to another came; the phases are told above."""

    phase: str
    old_version: str
    old_sha256: str
    new_version: str
    new_sha256: str


@dataclass(frozen=True)
class Tries:
    """What became of the attempts at one release: how often one was interrupted, and why it is refused, if it is."""

    sha256: str
    interrupted: int = 0
    refused: str = ""


def read(path: Path) -> dict[str, Any]:
    """A JSON object from the disk, or an empty one."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def read_journal(paths: Paths) -> Journal | None:
    """The journal of an unfinished upgrade, or None."""
    raw = read(paths.state / "upgrade.json")
    return Journal(**raw) if raw else None


def write_journal(paths: Paths, journal: Journal) -> None:
    """Put the journal on the disk before the step that it speaks of."""
    write_whole(paths.state / "upgrade.json", json.dumps(asdict(journal)) + "\n")


def read_tries(settings: Settings) -> Tries:
    """What became of the attempts at the pinned release; another release's attempts do not count."""
    raw = read(settings.paths.state / "tries.json")
    return Tries(**raw) if raw.get("sha256") == settings.pin.sha256 else Tries(settings.pin.sha256)


def write_tries(settings: Settings, tries: Tries) -> None:
    """Remember the attempts."""
    write_whole(settings.paths.state / "tries.json", json.dumps(asdict(tries)) + "\n")


def refusal(tries: Tries, version: str) -> str:
    """Why the pinned release is not tried again, as a sentence, or the empty string."""
    if tries.refused:
        return tries.refused
    if tries.interrupted >= INTERRUPTIONS:
        return f"the upgrade to {version} was interrupted {tries.interrupted} times"
    return ""


def is_due(settings: Settings) -> bool:
    """Whether an installed cloud runs another release than the pinned one."""
    stamp = read_stamp(settings.paths.tree)
    return stamp is not None and stamp.sha256 != settings.pin.sha256 and is_installed(settings)


def upgrade(settings: Settings, again: bool = False) -> None:
    """Bring the cloud to the pinned release. Raises Fault when it ended on the old one, which serves then.

    ``again``: try a release that was refused before.
    """
    here = read_stamp(settings.paths.tree)
    if here is None or not is_due(settings):
        return
    pin, tries = settings.pin, Tries(settings.pin.sha256) if again else read_tries(settings)
    reason = refused_move(here, settings) or refusal(tries, pin.version)
    if reason:
        raise Fault(f"{reason}; this box stays on {here.version}: move the pin, or run upgrade --again on the box")
    if says(config_text(settings.paths.tree), "maintenance"):
        raise Fault("somebody put the cloud into maintenance mode; switch it off before an upgrade")
    archive.fetch(settings)
    room = 2 * database.size_bytes() + size_bytes(settings.paths.tree / "apps-external") + RESERVE_BYTES
    need_room(settings.paths.state, room, "the upgrade")
    need_room(settings.paths.www, RESERVE_BYTES, "the upgrade")
    keep_config(settings)
    write_tries(settings, replace(tries, interrupted=tries.interrupted + 1))
    journal = Journal("preparing", here.version, here.sha256, pin.version, pin.sha256)
    write_journal(settings.paths, journal)
    try:
        prepare(settings)
        journal = replace(journal, phase="upgrading")
        write_journal(settings.paths, journal)
        act(settings)
    except (Fault, OSError) as fault:
        words = f"the upgrade to {pin.version} failed: {fault}"
        # An error of this machine (a full disk) is not the release's fault: it counts as an interruption.
        with contextlib.suppress(OSError):
            if isinstance(fault, Fault):
                write_tries(settings, replace(tries, interrupted=tries.interrupted + 1, refused=words))
        raise Fault(f"{words}; {undo(settings)}") from None
    write_journal(settings.paths, replace(journal, phase="verified"))
    recover(settings)


def undo(settings: Settings) -> str:
    """Recover, and tell the outcome, be it good or bad."""
    try:
        return recover(settings)
    except (Fault, OSError) as fault:
        return f"and going back is not complete, the next run goes on with it: {fault}"


def prepare(settings: Settings) -> None:
    """Close the cloud, keep its database, and carry its configuration to the release beside it."""
    tree, new = settings.paths.tree, settings.beside
    cron("stop", TIMER, CRON)
    occ(settings, "maintenance:mode", "--on")
    if not says(config_text(tree), "maintenance"):
        raise Fault("maintenance:mode --on changed nothing; look whether config.php can be written")
    database.dump(settings.paths.dump, "keeping the database before an upgrade")
    for path in (tree / "config").iterdir():
        if path.name != STAMP and not path.name.endswith(".sample.php") and path.suffix == ".php":
            copy_owned(path, new / "config" / path.name)
    shutil.rmtree(new / "apps-external")
    copy_owned(tree / "apps-external", new / "apps-external")


def copy_owned(source: Path, target: Path) -> None:
    """Copy a file or folder with owners, modes and times; symbolic links stay links."""
    done = run(["cp", "-a", "-T", "--remove-destination", str(source), str(target)])
    if done.returncode:
        raise Fault(f"{source} cannot be copied: {last_words(done.stderr)}")


def act(settings: Settings) -> None:
    """Exchange the trees, let the product upgrade its data, and see that the new version serves. Raises Fault."""
    tree, pin = settings.paths.tree, settings.pin
    exchange(tree, settings.beside)
    reload_php(settings)
    occ(settings, "upgrade", good=settings.product.upgraded, timeout_s=UPGRADE_TIMEOUT_S)
    if says(config_text(tree), "maintenance"):
        occ(settings, "maintenance:mode", "--off")
    update_htaccess(settings)
    reload_php(settings)
    wait_until_serving(settings, pin.version)
    write_stamp(tree, replace(stamp_of(pin), configured=config_digest(settings)))


def recover(settings: Settings) -> str:
    """Finish an upgrade that ended midway, back or forward, and return what was done as a sentence, or nothing.

    Can be interrupted and repeated at any point. Raises Fault when it cannot go on by itself.
    """
    paths, journal = settings.paths, read_journal(settings.paths)
    if journal is None:
        return ""
    if journal.phase == "upgrading":
        bring_back(settings, journal)
        journal = replace(journal, phase="restored")
        write_journal(paths, journal)
    # What is beside now is the old release, or the new one with a configuration that its upgrade may have spoilt.
    # It goes first, since the disk may be full and the next step writes.
    shutil.rmtree(beside(paths, journal.new_sha256), ignore_errors=True)
    if journal.phase in ("preparing", "restored"):
        restore_config(settings)
        reload_php(settings)
    if journal.phase == "verified":
        keep_config(settings)
        (paths.state / "tries.json").unlink(missing_ok=True)
    cron("start", TIMER)
    paths.dump.unlink(missing_ok=True)
    paths.dump.with_suffix(".part").unlink(missing_ok=True)
    (paths.state / "upgrade.json").unlink()
    sync_folder(paths.state)
    if journal.phase == "verified":
        return f"the upgrade to {journal.new_version} is complete"
    wait_until_serving(settings, journal.old_version)
    return f"this box is back on {journal.old_version}, serving, with the data it had before"


def bring_back(settings: Settings, journal: Journal) -> None:
    """Put the old tree back (in maintenance mode, so nobody writes) and then the old data."""
    paths, place = settings.paths, beside(settings.paths, journal.new_sha256)
    here, other = read_stamp(paths.tree), read_stamp(place)
    if here is None or here.sha256 != journal.old_sha256:
        if other is None or other.sha256 != journal.old_sha256:
            raise Fault(
                f"an upgrade ended midway and the old tree is neither at {paths.tree} nor at {place}; "
                f"unpack {journal.old_version} by hand and keep {paths.dump}"
            )
        exchange(paths.tree, place)
    reload_php(settings)
    database.restore(settings, settings.paths.dump)


def cron(verb: str, *units: str) -> None:
    """Stop or start the background jobs, unless the first converge has not come to make them."""
    if (UNITS / TIMER).exists():
        systemctl(verb, *units)


def reload_php(settings: Settings) -> None:
    """Let FPM forget the code it has compiled and cached; it goes by path, and the path stays the same."""
    systemctl("try-reload-or-restart", f"php{settings.pin.php}-fpm.service")

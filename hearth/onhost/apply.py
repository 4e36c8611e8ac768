#!/usr/bin/python3
# This file belongs to hearth and is replaced whole; changes made here are lost.
"""Put a set of files as one change that either holds or is undone.

A change has a name and passes through these states; each is on disk before the next step begins, so that a kill or
a power cut at any point leaves either the old files, or a registered undo that the next run or the next boot finishes
(the idea is certbot's reverter: undo is registered before the act).

    registered   CHANGES/NAME/change.json and the old files' copies are on disk; nothing is touched yet
    armed        only for a guarded change: a systemd timer will run ``revert NAME`` when nobody confirms in time
    placed       every file is in its place, each by rename
    active       ``check``, ``activate`` and ``verify`` have succeeded; a guarded change waits here for ``confirm``
    settled      CHANGES/NAME is gone and APPLIED/NAME holds the digest of what was applied, then its paths: what
                 an earlier change of the same name put and this one does not know any more is removed

    apply put < change.json      what to put, as JSON; exit 0 when settled, or when active and guarded
    apply confirm NAME TOKEN     settle a guarded change; TOKEN came with it, so that a late answer to
                                 an earlier change never settles this one
    apply revert NAME            undo an unsettled change and activate the old files again
    apply recover                undo all unsettled changes without activating (at boot, before the services start)
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import grp
import hmac
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STATE = Path("/var/lib/hearth")
CHANGES = STATE / "changes"
APPLIED = STATE / "applied"
CONFIRMED = STATE / "confirmed"
PROGRAM = "/usr/lib/hearth/apply"
COMMAND_TIMEOUT_S = 300


class Refused(Exception):
    """The change did not hold; the message is for the operator."""


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Let one change at a time touch the host."""
    STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut (fsync(2): the directory needs one of its own)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, content: bytes, mode: int = 0o600, owner: str = "root", group: str = "root") -> None:
    """Write a file whole, beside its place, and rename it there."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.hearth")
    with contextlib.suppress(FileNotFoundError):
        staged.unlink()
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        os.fchown(file.fileno(), pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid)
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    staged.rename(path)
    sync_folder(path.parent)


def link(path: Path, target: str) -> None:
    """Make ``path`` a symbolic link to ``target``, atomically."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.hearth")
    with contextlib.suppress(FileNotFoundError):
        staged.unlink()
    staged.symlink_to(target)
    staged.rename(path)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file or link if it is there."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        sync_folder(path.parent)


def run(command: str, what: str, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
    """Run one of the change's shell commands; raise Refused with its last words when it fails or does not end."""
    if not command:
        return
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as fault:
        raise Refused(f"{what} did not end within {timeout_s:g} s") from fault
    if done.returncode != 0:
        words = " / ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-6:])
        raise Refused(f"{what} failed ({done.returncode}): {words}")


def paths_of(change: dict[str, Any]) -> list[str]:
    """Every path that the change touches."""
    return [file["path"] for file in change["files"]] + list(change["absent"])


def with_pruning(change: dict[str, Any]) -> dict[str, Any]:
    """Return the change with everything absent that the last change of this name put and this one does not name."""
    earlier = (stamp(str(change["name"])) or "").splitlines()[1:]
    return change | {"absent": [*change["absent"], *(path for path in earlier if path not in paths_of(change))]}


def register(change: dict[str, Any]) -> Path:
    """Copy what is there now and record the change: from here on it can be undone."""
    folder = CHANGES / str(change["name"])
    building = CHANGES / f".{change['name']}.building"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=0o700, parents=True)
    old: list[dict[str, Any]] = []
    for number, name in enumerate(paths_of(change)):
        path = Path(name)
        if path.is_symlink():
            old.append({"path": name, "link": str(path.readlink())})
        elif path.exists():
            facts = path.stat()
            write(building / str(number), path.read_bytes())
            old.append(
                {
                    "path": name,
                    "copy": str(number),
                    "mode": facts.st_mode & 0o7777,
                    "owner": pwd.getpwuid(facts.st_uid).pw_name,
                    "group": grp.getgrgid(facts.st_gid).gr_name,
                }
            )
        else:
            old.append({"path": name, "gone": True})
    record = {key: change[key] for key in ("name", "digest", "activate", "token")}
    placed = [file["path"] for file in change["files"]]
    record |= {"old": old, "placed": placed, "applied": stamp(str(change["name"]))}
    write(building / "change.json", json.dumps(record).encode())
    building.rename(folder)
    sync_folder(CHANGES)
    return folder


def stamp(name: str) -> str | None:
    """What was last applied and activated under this name (digest, then paths, a line each), or None."""
    try:
        return (APPLIED / name).read_text()
    except FileNotFoundError:
        return None


def load(name: str) -> dict[str, Any] | None:
    """Return the record of an unsettled change, or None."""
    try:
        record: dict[str, Any] = json.loads((CHANGES / name / "change.json").read_text())
    except FileNotFoundError:
        return None
    return record


def place(change: dict[str, Any]) -> None:
    """Put every file and remove what shall be absent."""
    for file in change["files"]:
        path = Path(file["path"])
        if "link" in file:
            link(path, file["link"])
        else:
            content = base64.b64decode(file["content"])
            write(path, content, int(file["mode"], 8), file["owner"], file["group"])
    for name in change["absent"]:
        remove(Path(name))


def restore(record: dict[str, Any]) -> None:
    """Put everything back as it was when the change was registered, the stamp of what is applied last."""
    folder = CHANGES / str(record["name"])
    for old in record["old"]:
        path = Path(old["path"])
        if "gone" in old:
            remove(path)
        elif "link" in old:
            link(path, old["link"])
        else:
            write(path, (folder / old["copy"]).read_bytes(), old["mode"], old["owner"], old["group"])
    if record["applied"] is not None:
        write(APPLIED / str(record["name"]), record["applied"].encode(), 0o644)


def settle(name: str) -> None:
    """Forget the undo: rename first, so that a half removed folder is never taken for a change."""
    done = CHANGES / f".{name}.done"
    shutil.rmtree(done, ignore_errors=True)
    (CHANGES / name).rename(done)
    sync_folder(CHANGES)
    shutil.rmtree(done, ignore_errors=True)


def timer(name: str) -> str:
    """The name of the unit that undoes a guarded change."""
    return f"hearth-revert-{name}"


def disarm(name: str) -> None:
    """Stop the timer, if it runs, and an undo that keeps trying; whoever calls holds the lock, so none is half done."""
    subprocess.run(
        ["systemctl", "stop", f"{timer(name)}.timer", f"{timer(name)}.service"], capture_output=True, check=False
    )


def arm(name: str, seconds: int) -> None:
    """Start the timer that undoes the change; a timer's default accuracy of a minute would be too late.

    An undo that fails, since a service would not start at once, is tried again until it succeeds.
    """
    run(
        f"systemd-run --quiet --collect --unit={timer(name)} --on-active={seconds} "
        "--timer-property=AccuracySec=1s --property=Restart=on-failure --property=RestartSec=5s "
        f"--property=StartLimitIntervalSec=0 {PROGRAM} revert {name}",
        "arming the revert timer",
    )


def undo(name: str, *, activate: bool) -> None:
    """Undo an unsettled change and, unless the host is booting, activate the old files again."""
    record = load(name)
    if record is None:
        return
    restore(record)
    if activate:
        run(record["activate"], "activating the old files")
    settle(name)


def put(change: dict[str, Any]) -> str:
    """Apply a change from start to end; return what to print. Raises Refused after undoing it."""
    name, guard_s = str(change["name"]), int(change["guard_s"])
    # The undo waits for our lock: a guarded change's command that hangs must not keep it from its hour.
    limit_s = guard_s / 3 if guard_s else COMMAND_TIMEOUT_S
    disarm(name)
    undo(name, activate=False)
    change = with_pruning(change)
    register(change)
    remove(APPLIED / name)
    try:
        if guard_s:
            arm(name, guard_s)
        place(change)
        run(change["check"], "the check", limit_s)
        run(change["activate"], "activating", limit_s)
        run(change["verify"], "the look at the result", limit_s)
    except (Refused, OSError, KeyError) as fault:
        # Disarmed only once all is undone: where that fails, the timer of a guarded change tries again.
        try:
            undo(name, activate=True)
        except Refused as second:
            raise Refused(f"{fault}; the old files are back, but {second}") from second
        except OSError as second:
            raise Refused(f"{fault}; the next converge or boot brings the old files back ({second})") from second
        disarm(name)
        raise Refused(f"{fault}; the old files are back") from fault
    if guard_s:
        return f"active; undone in {guard_s} s unless confirmed"
    finish(name)
    return "settled"


def finish(name: str) -> None:
    """Record what is applied now, then forget the undo."""
    record = load(name)
    if record is not None:
        lines = [record["digest"], *record["placed"]]
        write(APPLIED / name, "".join(f"{line}\n" for line in lines).encode(), 0o644)
        settle(name)


def confirm(name: str, token: str) -> str:
    """Settle a guarded change. Raises Refused when it is not waiting, or waits for somebody else.

    Asked again it says the same, since the first answer may have been lost on the way.
    """
    confirmed = CONFIRMED / name
    record = load(name)
    if record is None and confirmed.exists() and hmac.compare_digest(confirmed.read_text(), token):
        return "settled"
    if record is None or not hmac.compare_digest(record["token"], token):
        raise Refused(f"the change {name} is not waiting for this confirmation: it has been undone")
    disarm(name)
    write(confirmed, token.encode())
    finish(name)
    return "settled"


def recover() -> str:
    """Undo every unsettled change, without activating: the services have not started yet."""
    names = sorted(folder.name for folder in CHANGES.glob("[!.]*")) if CHANGES.is_dir() else []
    for name in names:
        undo(name, activate=False)
    return f"undone: {', '.join(names)}" if names else "nothing to undo"


def main(arguments: list[str]) -> int:
    """Run one verb; exit status 0, or 1 with one sentence on stderr."""
    try:
        with locked():
            match arguments:
                case ["put"]:
                    print(put(json.load(sys.stdin)))
                case ["confirm", name, token]:
                    print(confirm(name, token))
                case ["revert", name]:
                    undo(name, activate=True)
                    print(f"undone: {name}")
                case ["recover"]:
                    print(recover())
                case _:
                    raise Refused("usage: apply put | confirm NAME TOKEN | revert NAME | recover")
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except OSError as fault:
        # A full disk says nothing of the file that it had no room for.
        place = fault.filename or f"the disk of {STATE}"
        print(f"{place}: {fault.strerror}; what is unfinished is undone by the next converge or boot", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

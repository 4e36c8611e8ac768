"""What every part needs of the machine: commands, whole files, the lock. Everything here is an effect."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

WEB = "www-data"
COMMAND_TIMEOUT_S = 900
# The whole environment of what the program starts: nothing of the caller's (locale, proxies) may change an outcome.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}


class Fault(Exception):
    """What went wrong and what to do, as one sentence for the operator; never holds a secret."""


def as_child(command: Sequence[str], *, web: bool) -> list[str]:
    """The command line that runs ``command``, as www-data when ``web``, and lets it die with this program.

    So an upgrade that was killed leaves no ``occ`` behind that still writes to the database which the next run
    restores.
    """
    who = [f"--reuid={WEB}", f"--regid={WEB}", "--init-groups"] if web else []
    return ["setpriv", *who, "--pdeathsig=KILL", "--", *command]


def run(
    command: Sequence[str],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    web: bool = False,
    timeout_s: int = COMMAND_TIMEOUT_S,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command, as www-data when ``web``, and return what it gave, whatever its status.

    A child inherits the program's lock (``close_fds``). Raises Fault when it hangs or cannot start.
    """
    try:
        return subprocess.run(
            as_child(command, web=web),
            input=stdin,
            capture_output=True,
            env={**ENVIRONMENT, **(env or {})},
            cwd=cwd,
            timeout=timeout_s,
            check=False,
            close_fds=False,
        )
    except subprocess.TimeoutExpired:
        raise Fault(f"{Path(command[0]).name} gave no answer within {timeout_s} seconds and was ended") from None
    except OSError as fault:
        raise Fault(f"{command[0]} cannot be started: {fault.strerror}") from None


def last_words(*outputs: bytes, hide: Sequence[str] = ()) -> str:
    """The last three lines of the first output that says anything, 400 characters, with ``hide`` blotted out.

    Three, since what is said last is often not the reason (``Maintenance mode is kept active``); PHP's stack traces say
    nothing to the operator.
    """
    for output in outputs:
        lines = [line.strip() for line in output.decode(errors="replace").splitlines()]
        lines = [line for line in lines if line and not re.match(r"#\d+ |Stack trace:|thrown in ", line)]
        if lines:
            words = " / ".join(lines[-3:])
            for secret in hide:
                words = words.replace(secret, "…")
            return words[-400:]
    return "it said nothing"


@contextlib.contextmanager
def locked(path: Path, patience_s: float) -> Iterator[None]:
    """Let one run at a time touch the cloud; children inherit the lock. Raises Fault after ``patience_s``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(handle, True)
    try:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Fault("another run is at work on this box's cloud; try again when it has ended") from None
                time.sleep(0.2)
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` survive a power cut (fsync(2): the directory needs one of its own)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: str | bytes, mode: int = 0o600, owner: str = "root", group: str = "root") -> None:
    """Put a file whole: temporary file beside it, synced, renamed. Safe in a folder that www-data may write to."""
    raw = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
            shutil.chown(beside, owner, group)
            os.fchmod(file.fileno(), mode)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def exchange(one: Path, other: Path) -> None:
    """Swap two folders in one step, renameat2(2) with RENAME_EXCHANGE: at no time is either name missing."""
    done = run(["mv", "--exchange", "-T", str(one), str(other)])
    if done.returncode:
        raise Fault(f"{one} and {other} cannot be exchanged: {last_words(done.stderr)}")
    sync_folder(one.parent)


def systemctl(verb: str, *units: str) -> None:
    """Run a systemctl verb. Raises Fault when systemd refuses."""
    done = run(["systemctl", verb, *units])
    if done.returncode:
        raise Fault(f"systemctl {verb} {' '.join(units)} failed: {last_words(done.stderr)}")


def need_room(folder: Path, wanted_bytes: int, purpose: str) -> None:
    """Raise Fault unless the file system of ``folder`` has ``wanted_bytes`` free."""
    free = shutil.disk_usage(folder).free
    if free < wanted_bytes:
        raise Fault(
            f"{purpose} needs {wanted_bytes / 1e6:.0f} MB free on the disk of {folder}, "
            f"and it has {free / 1e6:.0f} MB; make room and converge again"
        )


def size_bytes(folder: Path) -> int:
    """What the files below ``folder`` hold together."""
    return sum(path.lstat().st_size for path in folder.rglob("*"))

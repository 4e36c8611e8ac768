"""What every part needs of the machine: commands, files, the lock, room. Everything here is an effect."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import common
from .common import Fault, sync_folder

WEB = "www-data"
COMMAND_TIMEOUT_S = 900
# The whole environment of what the program starts: nothing of the caller's (locale, proxies) may change an outcome.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}


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


def locked(path: Path, patience_s: float) -> contextlib.AbstractContextManager[None]:
    """Let one run at a time touch the cloud. Raises Fault after ``patience_s``."""
    return common.locked(path, patience_s, "another run is at work on this box's cloud")


def write_whole(path: Path, content: str | bytes, mode: int = 0o600, owner: str = "root", group: str = "root") -> None:
    """Put a file whole, root's unless said otherwise."""
    common.write_whole(path, content, mode, (owner, group))


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

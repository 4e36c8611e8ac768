"""What every part needs of the machine: commands, whole files, the lock. Everything here is an effect."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# The whole environment of what the program starts: nothing of the caller's may change an outcome.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}


class Fault(Exception):
    """What went wrong and what to do, as one sentence; never holds a secret."""


class Waits(Fault):
    """What is still missing and comes from elsewhere: no failure of a converge."""


class Unanswered(Fault):
    """A command that gave no end in its time; ``said``: what stood on its standard error by then."""

    def __init__(self, sentence: str, said: bytes) -> None:
        super().__init__(sentence)
        self.said = said


def run(
    command: Sequence[str],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command and return what it gave, whatever its status. Raises Unanswered, or Fault if it cannot start.

    A child dies with the program and inherits its lock: what was killed leaves nobody behind who still writes.
    """
    try:
        return subprocess.run(
            ["setpriv", "--pdeathsig=KILL", "--", *command],
            input=stdin,
            capture_output=True,
            env={**ENVIRONMENT, **(env or {})},
            cwd=cwd,
            timeout=timeout_s,
            check=False,
            close_fds=False,
        )
    except subprocess.TimeoutExpired as fault:
        sentence = f"{Path(command[0]).name} gave no answer within {timeout_s:.0f} seconds and was ended"
        raise Unanswered(sentence, fault.stderr or b"") from None
    except OSError as fault:
        raise Fault(f"{command[0]} cannot be started: {fault.strerror}") from None


def last_words(*outputs: bytes) -> str:
    """The last two lines of the first output that says anything, at most 400 characters."""
    for output in outputs:
        lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
        if lines:
            return " / ".join(lines[-2:])[-400:]
    return "it said nothing"


@contextlib.contextmanager
def locked(path: Path, patience_s: float) -> Iterator[None]:
    """Let one run at a time touch the repository; children inherit the lock. Raises Fault after ``patience_s``."""
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
                    raise Fault("a backup or restore is at work on this box; try again when it has ended") from None
                time.sleep(0.2)
        yield
    finally:
        os.close(handle)


def write_whole(path: Path, content: str, mode: int = 0o600) -> None:
    """Put a file whole: temporary file beside it, synced, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def text_of(path: Path) -> str:
    """A file's text without blanks around it; empty when there is none."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""

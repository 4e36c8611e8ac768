"""What every part needs of the machine: commands, files, the lock. Everything here is an effect."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import common
from .common import Fault

# The whole environment of what the program starts: nothing of the caller's may change an outcome.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}


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


def locked(path: Path, patience_s: float) -> contextlib.AbstractContextManager[None]:
    """Let one run at a time touch the repository. Raises Fault after ``patience_s``."""
    return common.locked(path, patience_s, "a backup or restore is at work on this box")


def write_whole(path: Path, content: str, mode: int = 0o600) -> None:
    """Put a file whole, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    common.write_whole(path, content, mode)


def text_of(path: Path) -> str:
    """A file's text without blanks around it; empty when there is none."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""

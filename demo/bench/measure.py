"""Run one command and measure it: a control group of its own knows the CPU seconds of all that it started.

Waiting for children would miss those that stay behind, as Ansible's ControlPersist masters do. Whatever stays is ended,
so that every run begins with a login, as an operator's does.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hearth.lab import cgroups

TIMEOUT_S = 1800


@dataclass(frozen=True)
class Command:
    """What an operator types, where, and with what in the environment and on standard input."""

    argv: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit status (None: it took too long), all it printed, wall and CPU seconds."""

    status: int | None
    output: str
    wall_s: float
    cpu_s: float


def inside(group: Path, argv: Sequence[str]) -> list[str]:
    """The command that runs ``argv`` in a control group; the process that is started becomes it."""
    return ["sh", "-c", 'echo 0 > "$1/cgroup.procs"; shift; exec "$@"', "sh", str(group), *argv]


def cpu_s(group: Path) -> float:
    """CPU seconds of all that ever ran in a control group."""
    return int(dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())["usage_usec"]) / 1e6


def run(command: Command, group: Path, log: Path, timeout_s: float = TIMEOUT_S) -> Ended:
    """Run a command to its end in the new control group ``group``; what it prints goes to the file ``log``."""
    cgroups.create(group)
    try:
        # To a file: a master that stays behind would hold a pipe open.
        with log.open("wb") as output:
            began = time.monotonic()
            process = subprocess.Popen(
                inside(group, command.argv),
                cwd=command.folder,
                env=os.environ | command.environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
            status: int | None
            try:
                process.communicate(command.stdin, timeout=timeout_s)
                status = process.returncode
            except subprocess.TimeoutExpired:
                status = None
            except KeyboardInterrupt:
                process.kill()  # interrupted before it was in the group
                raise
            wall_s = time.monotonic() - began
        return Ended(status, log.read_text(errors="replace"), wall_s, cpu_s(group))
    finally:
        cgroups.kill(group)
        cgroups.remove(group)

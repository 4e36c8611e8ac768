"""How the checks ask the machine: commands with an end, systemd's units. Nothing here changes anything."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PATIENCE_S = 10
# Nothing of the caller's may change what a program prints.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}

PROPERTIES = (
    "Id",
    "ActiveState",
    "Result",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "ActiveEnterTimestamp",
    "ExecMainExitTimestamp",
)


@dataclass(frozen=True)
class Done:
    """A command that has ended. ``status`` 124: it was ended after its time; 127: there is no such program."""

    status: int
    output: str


Run = Callable[[Sequence[str]], Done]


@dataclass(frozen=True)
class Unit:
    """A systemd unit. Times are in seconds since 1970; None: never since the last boot.

    ``skipped``: a condition keeps it from starting on this machine, which is no fault (time-syncd in a container).
    """

    active: str
    result: str
    skipped: bool
    since: float | None
    ended: float | None


def run(command: Sequence[str]) -> Done:
    """Run a command to its end, or for ten seconds; what it says on standard error belongs to its output."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Done(124, f"no answer within {PATIENCE_S} s")
    except OSError as fault:
        return Done(127, f"{command[0]}: {fault.strerror}")
    return Done(done.returncode, done.stdout.decode(errors="replace"))


def parse_units(text: str) -> dict[str, Unit]:
    """Given ``systemctl show --timestamp=unix`` of several units (blocks of Key=Value), return them by their Id."""
    found = {}
    for block in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        if "Id" in values:
            found[values["Id"]] = Unit(
                active=values.get("ActiveState", ""),
                result=values.get("Result", ""),
                skipped=values.get("ConditionResult") == "no" and values.get("ConditionTimestampMonotonic") != "0",
                since=_seconds(values.get("ActiveEnterTimestamp", "")),
                ended=_seconds(values.get("ExecMainExitTimestamp", "")),
            )
    return found


def _seconds(text: str) -> float | None:
    return float(text[1:]) if text.startswith("@") else None


def units(ask: Run, names: Sequence[str]) -> dict[str, Unit]:
    """The state of units, in one command; one that systemd does not tell of is missing."""
    listed = ",".join(PROPERTIES)
    return parse_units(ask(["systemctl", "show", "--timestamp=unix", f"--property={listed}", "--", *names]).output)

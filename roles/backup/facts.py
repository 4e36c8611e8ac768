"""What the program on the box says is still to be done for its backup."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from shlex import quote

from pyinfra.api.facts import FactBase
from typing_extensions import override

from hearth import layout

PROGRAM = f"{layout.PROGRAMS}/backup"


@dataclass(frozen=True)
class Step:
    """``pending``: whether the step is still to be done; ``sentence``: what it waits for, if it waits."""

    pending: bool
    sentence: str = ""


def parse_status(lines: Iterable[str]) -> Step:
    """Given what ``backup status STEP`` printed, return the Step; of a host without the program it is pending."""
    try:
        status = json.loads("\n".join(lines))
        return Step(pending=bool(status["pending"]), sentence=str(status["sentence"]))
    except (ValueError, KeyError, TypeError):
        return Step(pending=True)


class BackupStatus(FactBase[Step]):
    """Whether one step of the backup is still to be done; reads only."""

    @override
    @staticmethod
    def default() -> Step:
        return Step(pending=True)

    @override
    def command(self, step: str) -> str:
        return f"{PROGRAM} status {quote(step)} 2>/dev/null; true"

    @override
    def process(self, output: list[str]) -> Step:
        return parse_status(output)

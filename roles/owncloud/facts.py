"""What the program on the box says is still to be done."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api.facts import FactBase
from typing_extensions import override

from hearth import layout

PROGRAM = f"{layout.PROGRAMS}/owncloud"


@dataclass(frozen=True)
class Cloud:
    """``pending``: whether the step that was asked for is still to be done; ``sentence``: what else is to be told."""

    pending: bool
    sentence: str = ""


def parse_status(lines: Iterable[str], step: str) -> Cloud:
    """Given what ``owncloud status`` printed of all steps, return the Cloud of one.

    A host without the program prints nothing, and so does one whose description cannot be read: all is pending there,
    and the step itself says what is wrong.
    """
    try:
        status = json.loads("\n".join(lines))
        return Cloud(pending=step in status["pending"], sentence=status["sentence"])
    except (ValueError, KeyError, TypeError):
        return Cloud(pending=True)


class CloudStatus(FactBase[Cloud]):
    """Whether one step of the cloud is still to be done; reads only.

    Every step asks the same, so that a batch asks it once: the look at what occ knows costs more than all the others.
    """

    _step: str = ""

    @override
    @staticmethod
    def default() -> Cloud:
        return Cloud(pending=True)

    @override
    def command(self, step: str) -> str:
        self._step = step
        return f"{PROGRAM} status 2>/dev/null; true"

    @override
    def process(self, output: list[str]) -> Cloud:
        return parse_status(output, self._step)

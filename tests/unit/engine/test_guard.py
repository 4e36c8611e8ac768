"""What the guard makes of a change whose answer does not come."""

from __future__ import annotations

from typing import Any

import pytest
from pyinfra.connectors.util import CommandOutput, OutputLine

from hearth import guard


class Silent:
    """A host that says nothing, and its connection, which is known to be cut from the ``cut_at``-th look on."""

    print_prefix = ""

    def __init__(self, cut_at: int | None) -> None:
        self._looks, self._cut_at = 0, cut_at
        self.said: list[str] = []

    @property
    def is_cut(self) -> bool:
        self._looks += 1
        return self._cut_at is not None and self._looks >= self._cut_at

    def run_shell_command(self, *_: Any, **__: Any) -> tuple[bool, CommandOutput]:
        return False, CommandOutput([OutputLine("stderr", line) for line in self.said])


@pytest.mark.parametrize("cut_at", [1, 3])
def test_a_connection_whose_end_is_noticed_late_is_a_cut_one(cut_at: int) -> None:
    host = Silent(cut_at)
    assert guard.put(host, host, "{}", 1) is None  # type: ignore[arg-type]


def test_who_says_nothing_over_a_line_that_holds_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "NOTICED_S", 0.1)
    host = Silent(None)
    assert guard.put(host, host, "{}", 1) == "it ended without a word"  # type: ignore[arg-type]


def test_who_says_why_has_failed_at_once() -> None:
    host = Silent(5)
    host.said = ["sshd does not take the configuration"]
    assert guard.put(host, host, "{}", 1) == "sshd does not take the configuration"  # type: ignore[arg-type]

"""From the lines that ``hearth.fleet.reporter`` wrote to what became of each host. Pure: text in, verdicts out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from hearth.fleet.masking import masked
from hearth.fleet.wire import told_of

Outcome = Literal["converged", "failed", "unreported", "lost"]


@dataclass(frozen=True)
class Ran:
    """An operation that ran to its end. ``reason``: why it failed, masked."""

    name: str
    changed: bool
    failed: bool
    duration_s: float
    reason: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of a host in one attempt.

    ``lost``: nobody knows, since the slice's process ended first. ``reason``: one masked sentence, None if converged.
    ``duration_s``: from the first connection to the last step.
    """

    host: str
    outcome: Outcome
    reason: str | None = None
    duration_s: float = 0.0
    operations: tuple[Ran, ...] = ()


@dataclass
class _Seen:
    """What the lines told of one host so far."""

    begun: float | None = None
    last: float = 0.0
    refused: str | None = None
    unreachable: str | None = None
    expected: int | None = None
    executed: bool = False
    operations: list[Ran] = field(default_factory=list)


def verdicts(lines: Iterable[str], hosts: Iterable[str]) -> dict[str, Verdict]:
    """Given the lines of a slice's report, return what became of each of its ``hosts``.

    A line that a kill cut off counts as not written.
    """
    seen = {host: _Seen() for host in hosts}
    for told in told_of(lines, seen):
        _take(seen[told["host"]], told)
    return {host: _judge(host, one) for host, one in seen.items()}


def _take(seen: _Seen, told: dict[str, Any]) -> None:
    seen.begun = told["at"] if seen.begun is None else seen.begun
    # All hosts of a slice are left when the last one has finished.
    seen.last = told["at"] if told["what"] != "left" else seen.last or told["at"]
    if told["what"] == "unreachable":
        seen.unreachable = masked(told["reason"])
    elif told["what"] == "refused":
        seen.refused = masked(told["reason"])
    elif told["what"] == "operation":
        reason = masked(told["reason"]) if told["reason"] else None
        seen.operations.append(Ran(told["name"], told["changed"], told["failed"], told["duration_s"], reason))
    elif told["what"] == "left":
        seen.expected, seen.executed = told["operations"], told["executed"]


def _judge(host: str, seen: _Seen) -> Verdict:
    outcome, reason = _outcome(seen)
    duration_s = round(seen.last - seen.begun, 3) if seen.begun is not None else 0.0
    return Verdict(host, outcome, reason, duration_s, tuple(seen.operations))


def _outcome(seen: _Seen) -> tuple[Outcome, str | None]:
    failed = next((ran for ran in seen.operations if ran.failed), None)
    if seen.unreachable is not None:
        return "unreported", seen.unreachable
    if failed is not None:
        return "failed", f"{failed.name}: {failed.reason or 'it failed and said nothing'}"
    if seen.refused is not None:
        return "failed", f"its deploy cannot be prepared: {seen.refused}"
    if seen.expected is None or not seen.executed:
        return "lost", "the process that converged it ended before it did"
    incomplete = _incomplete(seen.operations, seen.expected)
    return ("failed", incomplete) if incomplete else ("converged", None)


def _incomplete(operations: list[Ran], expected: int) -> str | None:
    """Why operations that all went well are not a converge, or None."""
    if expected == 0:
        return "its deploy has nothing to do for this host: is it of the right kind?"
    if len(operations) < expected:
        last = f" after {operations[-1].name}" if operations else ""
        return f"it stopped{last}, {expected - len(operations)} operations before its end"
    return None

"""A plan in words: for people, and as data for programs; ``plan_markdown`` has a pull request's comment. Pure.

Removals stand first everywhere. Hosts with the very same changes are told once, together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

from hearth.fleet import moves
from hearth.fleet.plan_markdown import markdown
from hearth.fleet.plan_model import FileChange, Plan
from hearth.fleet.plan_words import (
    file_words,
    grouped,
    household_words,
    names,
    removed_files,
    step_words,
    summary,
)

__all__ = ["Line", "data", "lines", "markdown"]

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


class Line(NamedTuple):
    """A line for a terminal, with rich's name for how it looks."""

    text: str
    style: str = ""


def lines(plan: Plan) -> Iterator[Line]:
    """The plan for people: removals, then hosts by what would change, then those that nobody could ask, then a sum."""
    yield from _removals(plan)
    for move in plan.moves:
        yield Line(f"{moves.words(move)}.", "bold red")
    for hosts, steps in grouped(plan):
        yield Line(f"{names(hosts)}:", "bold")
        for step in steps:
            yield Line(f"  {step_words(step)}")
            for file in step.files:
                yield from _file(file)
    yield from _others(plan, "failed", "Cannot be planned:")
    yield from _others(plan, "unreported", "Not reached, so nobody knows:")
    if plan.without_deploy:
        yield Line(f"Left out, since this version has no deploy for them: {', '.join(plan.without_deploy)}")
    yield Line(summary(plan), "bold")


def _removals(plan: Plan) -> Iterator[Line]:
    removed = removed_files(plan)
    if plan.removed or removed:
        yield Line("Removals:", "bold red")
    for household, slot in plan.removed.items():
        yield Line(f"  {household_words(household, slot)}", "red")
    for path, hosts in removed.items():
        yield Line(f"  {path} goes from {names(hosts)}", "red")
    if plan.warning:
        yield Line(f"A converge would refuse this: {plan.warning}", "bold red")


def _file(file: FileChange) -> Iterator[Line]:
    yield Line(f"    {file_words(file)}", "red" if file.kind == "removed" else "")
    for each in file.diff.splitlines():
        yield Line(f"      {each}", _COLOURS.get(each[:1], "dim"))


def _others(plan: Plan, outcome: str, heading: str) -> Iterator[Line]:
    found = [each for each in plan.hosts if each.outcome == outcome]
    if found:
        yield Line(heading, "bold yellow")
    for each in found:
        yield Line(f"  {each.host}: {each.reason}", "yellow")


def data(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, as schemas/plan.schema.json describes it."""
    outcomes = Counter(each.outcome for each in plan.hosts)
    return {
        "fleet": plan.fleet,
        "since": plan.since,
        "exit_status": plan.exit_status,
        "removed": [{"household": name, "slot": slot} for name, slot in plan.removed.items()],
        "moves": [{"domain": move.domain, "from": move.old, "to": move.new} for move in plan.moves],
        "warning": plan.warning,
        "counts": {
            **{outcome: outcomes[outcome] for outcome in ("changes", "unchanged", "failed", "unreported")},
            "untouched": plan.untouched,
        },
        "without_deploy": list(plan.without_deploy),
        "hosts": [_plain(asdict(each)) for each in plan.hosts],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value

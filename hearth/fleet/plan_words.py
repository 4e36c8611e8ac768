"""The sentences that a plan's forms have in common. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hearth.fleet.plan_model import FileChange, Plan, Step

HOSTS_NAMED = 5


def counted(count: int, noun: str) -> str:
    """``1 host``, ``2 hosts``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def names(hosts: Sequence[str]) -> str:
    """The hosts by name; of many the first, and how many more."""
    shown = ", ".join(hosts[:HOSTS_NAMED])
    return shown if len(hosts) <= HOSTS_NAMED else f"{shown} and {len(hosts) - HOSTS_NAMED} more"


def grouped(plan: Plan) -> list[tuple[tuple[str, ...], tuple[Step, ...]]]:
    """The hosts that would change, together where the changes are the very same; those with removals first."""
    groups: dict[tuple[Step, ...], list[str]] = {}
    for each in plan.hosts:
        if each.outcome == "changes":
            groups.setdefault(each.steps, []).append(each.host)
    found = [(tuple(hosts), steps) for steps, hosts in groups.items()]
    return sorted(found, key=lambda group: not any(step.removes for step in group[1]))


def removed_files(plan: Plan) -> dict[str, list[str]]:
    """The files that would go, each with its hosts."""
    found: dict[str, list[str]] = {}
    for host in plan.hosts:
        for path in {file.path: None for step in host.steps for file in step.files if file.kind == "removed"}:
            found.setdefault(path, []).append(host.host)
    return dict(sorted(found.items()))


def household_words(name: str, slot: int) -> str:
    """What a household that left loses."""
    return f"{name} (slot {slot}) loses its route, its tunnel's key and its live sessions"


def step_words(step: Step) -> str:
    """An operation in a line."""
    return f"{step.name} ({step.note})" if step.note else step.name


def file_words(file: FileChange) -> str:
    """A file in a line."""
    return f"{file.kind} {file.path}{f' ({file.note})' if file.note else ''}"


def summary(plan: Plan) -> str:
    """The plan in a sentence: ``7 hosts: 2 would change, 5 as they shall be``."""
    outcomes = [each.outcome for each in plan.hosts]
    words: dict[Literal["changes", "unchanged", "failed", "unreported"], str] = {
        "changes": "would change",
        "unchanged": "as they shall be",
        "failed": "cannot be planned",
        "unreported": "not reached",
    }
    told = [f"{outcomes.count(outcome)} {word}" for outcome, word in words.items() if outcome in outcomes]
    since = f"; {counted(plan.untouched, 'other')} untouched since {plan.since[:12]}" if plan.since else ""
    if not plan.hosts:
        return f"No host has anything to do{since}"
    return f"{counted(len(plan.hosts), 'host')}: {', '.join(told)}{since}"

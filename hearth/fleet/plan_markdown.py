"""A plan as a comment of a pull request. Pure.

What hosts tell stands in code spans and fences alone: there it is no markup, mentions nobody, and cannot end its fence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from hearth.fleet import moves
from hearth.fleet.plan_model import ChangeKind, FileChange, Plan, Step
from hearth.fleet.plan_words import counted, grouped, household_words, names, removed_files, summary

LONGEST_COMMENT = 60_000
"""Characters. GitHub takes 65,536 a comment, Forgejo as many by default."""
_FOR_THE_NOTE = 300
_LIST_SHARE = 4
# The kinds of changes whose diffs are told, from all of them to none: what is new can be read in the request itself.
_WITH_DIFFS: tuple[tuple[ChangeKind, ...], ...] = (("removed", "changed", "added"), ("removed", "changed"), ())


def markdown(plan: Plan, longest: int = LONGEST_COMMENT) -> str:
    """The plan as Markdown of at most ``longest`` characters, at least some hundred: what is left out is counted."""
    since = f" since {_code(plan.since[:12])}" if plan.since else ""
    text = f"### Plan for {_code(plan.fleet)}{since}\n\n{summary(plan)}.\n"
    room = longest - _FOR_THE_NOTE
    for heading, points in _lists(plan):
        text += _list(heading, points, min(room - len(text), longest // _LIST_SHARE))
    left_out, without_diff = 0, 0
    for hosts, steps in grouped(plan):
        fitting = (kinds for kinds in _WITH_DIFFS if len(text) + len(_group(hosts, steps, kinds)) <= room)
        kinds = next(fitting, None)
        if kinds is None:
            left_out += len(hosts)
            continue
        text += _group(hosts, steps, kinds)
        without_diff += len(hosts) if kinds != _WITH_DIFFS[0] else 0
    missing = [
        *([f"some diffs of {counted(without_diff, 'host')}"] if without_diff else []),
        *([f"the changes of {counted(left_out, 'host')}"] if left_out else []),
    ]
    note = f"\n> Too long for a comment: {' and '.join(missing)}. {_code('hearth plan')} tells all.\n"
    return (text + note if missing else text)[:longest]


def _lists(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    """The lists that come before the hosts, each with its heading: removals first."""
    removals = [household_words(name, slot) for name, slot in plan.removed.items()]
    removals += [f"{_code(path)} goes from {names(hosts)}" for path, hosts in removed_files(plan).items()]
    warning = [f"A converge would refuse this: {_code(plan.warning)}"] if plan.warning else []
    yield "Removals", [*warning, *removals]
    yield "Moves", [moves.words(move) for move in plan.moves]
    for outcome, heading in (("failed", "Cannot be planned"), ("unreported", "Not reached, so nobody knows")):
        yield heading, [f"{each.host}: {_code(each.reason or '')}" for each in plan.hosts if each.outcome == outcome]
    yield "Left out, since this version has no deploy for them", list(plan.without_deploy)


def _list(heading: str, points: list[str], room: int) -> str:
    if not points:
        return ""
    text, shown = f"\n**{heading}**\n\n", 0
    for point in points:
        if len(text) + len(point) > room:
            break
        text, shown = f"{text}- {point}\n", shown + 1
    return text if shown == len(points) else f"{text}- and {len(points) - shown} more\n"


def _group(hosts: tuple[str, ...], steps: tuple[Step, ...], kinds: tuple[ChangeKind, ...]) -> str:
    told = "".join(_step(step, kinds) for step in steps)
    changes = counted(len(steps), "operation")
    return f"\n<details><summary><b>{escape(names(hosts))}</b>: {changes}</summary>\n\n{told}\n</details>\n"


def _step(step: Step, kinds: tuple[ChangeKind, ...]) -> str:
    note = f": {_code(step.note)}" if step.note else ""
    return f"- {_code(step.name)}{note}\n" + "".join(_file(file, kinds) for file in step.files)


def _file(file: FileChange, kinds: tuple[ChangeKind, ...]) -> str:
    note = f": {_code(file.note)}" if file.note else ""
    text = f"  - {file.kind} {_code(file.path)}{note}\n"
    if not file.diff or file.kind not in kinds:
        return text
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", file.diff)), default=0))
    inner = "\n".join(f"    {line}" for line in (f"{fence}diff", *file.diff.split("\n"), fence))
    return f"{text}\n{inner}\n\n"


def _code(text: str) -> str:
    """The text as a code span; its own backticks become apostrophes."""
    return f"`{' '.join(text.replace('`', chr(39)).split()) or '-'}`"

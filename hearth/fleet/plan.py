"""``hearth plan``: which hosts are asked, what they answer, and the households that lose access. Changes no host.

Hosts are asked by slices of the stock ``pyinfra`` command with ``--dry``, whose reporter tells each operation that
would do something, and each file that it would change (``hearth.fleet.preview``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from hearth.fleet import choice, moves, records, removal, slices
from hearth.fleet.conduct import RECORDS_READ, SLICES_PER_PROCESSOR
from hearth.fleet.desired import DEPLOYS, all_hosts, kind_of
from hearth.fleet.limits import parse_limit
from hearth.fleet.masking import masked
from hearth.fleet.plan_model import FileChange, HostPlan, Plan, Step
from hearth.fleet.removal import Removals
from hearth.fleet.run import groups_of, slice_size
from hearth.fleet.since import Since, since
from hearth.fleet.slices import Slice
from hearth.fleet.wire import told_of
from hearth.inventory.hosts import Fleet

__all__ = ["Asked", "FileChange", "HostPlan", "Plan", "Step", "host_plans", "planned"]


# A start of pyinfra costs a second of a processor's time, as much as asking some hosts. More than in a converge, where
# all that is in work when the budget of failures is spent comes to its end all the same.
LARGEST_SLICE = 25


@dataclass(frozen=True)
class Asked:
    """What the operator typed; see ``hearth plan --help``."""

    limit: tuple[str, ...] = ()
    since: str | None = None
    max_removals: str = "1"
    parallel: int | None = None


def planned(fleet: Fleet, asked: Asked, tell: Callable[[HostPlan], None] = lambda _host: None) -> Plan:
    """Ask the hosts what a converge would change; ``tell`` gets each answer as it comes.

    Raises RunError when what was asked names no host or no revision, or a record cannot be read.
    """
    limit = parse_limit(asked.max_removals, "--max-removals")
    change = since(fleet, asked.since) if asked.since is not None else None
    every = all_hosts(fleet)
    named = choice.limited(fleet, asked.limit) if asked.limit else tuple(every)
    touched = tuple(name for name in named if change is None or name in change.touched)
    chosen = choice.with_deploys(fleet, touched, choice.kinds_with_deploys())
    servers = [name for name in chosen.hosts if kind_of(every[name]) != "box"]
    leaving = _leaving(fleet, change)
    hosts = _ask(fleet, chosen.hosts, asked.parallel or SLICES_PER_PROCESSOR * (os.cpu_count() or 1), tell)
    return Plan(
        fleet=fleet.name,
        since=change.commit if change else None,
        hosts=hosts,
        untouched=len(named) - len(touched),
        # Relays and Pis take access away; without any of them in the plan nobody loses it.
        removed=dict(sorted(leaving.gone.items())) if servers else {},
        # A relay that would not change has made the move already.
        moves=moves.moves(fleet, {each.host for each in hosts if each.outcome == "changes"}),
        warning=removal.refusal(leaving, limit, not asked.limit, servers, may_remove_all=False),
        without_deploy=chosen.without_deploy,
    )


def _leaving(fleet: Fleet, change: Since | None) -> Removals:
    """The households that lose access: those that earlier runs knew, and those that the revision had."""
    servers = [
        name for name, host in all_hosts(fleet).items() if kind_of(host) in choice.kinds_with_deploys() - {"box"}
    ]
    recent = islice(records.latest_first(records.runs_folder(fleet.name)), RECORDS_READ)
    found = removal.removals(recent, {each.id for each in fleet.households}, servers)
    if change is None:
        return found
    return Removals({**change.removed, **found.gone}, max(found.known, change.known), found.said)


def _ask(fleet: Fleet, hosts: Sequence[str], at_once: int, tell: Callable[[HostPlan], None]) -> tuple[HostPlan, ...]:
    """Ask hosts, slices at a time; those that brought a slice down once more, alone."""
    found: dict[str, HostPlan] = {}
    every = all_hosts(fleet)
    with ThreadPoolExecutor(at_once, thread_name_prefix="plan") as threads:
        try:
            for future in as_completed([threads.submit(look, work) for work in _cut(fleet, hosts, at_once)]):
                for each in future.result():
                    found[each.host] = each
                    tell(each)
        except BaseException:
            # Ctrl-C, most of all: nothing on a host needs to come to an end, since nothing was begun.
            threads.shutdown(wait=False, cancel_futures=True)
            slices.end_all()
            raise
    return tuple(found[name] for name in every if name in found)


def _cut(fleet: Fleet, hosts: Sequence[str], at_once: int) -> list[Slice]:
    every, size, found = all_hosts(fleet), slice_size(len(hosts), at_once, LARGEST_SLICE), list[Slice]()
    for kind, deploy in DEPLOYS.items():
        same = [every[name] for name in hosts if kind_of(every[name]) == kind]
        for start in range(0, len(same), size):
            groups = groups_of(same[start : start + size], kind)
            found.append(Slice(fleet.name, "plan", len(found) + 1, deploy, groups))
    return found


def look(work: Slice) -> list[HostPlan]:
    """Ask the hosts of a slice; each once more, alone, that a process ended without having told of it."""
    lines, words = slices.look(work)
    found = host_plans(lines, work.hosts)
    if len(work.hosts) > 1:
        for host in [each for each in work.hosts if each not in found]:
            alone = work.only({host})
            lines, words = slices.look(alone)
            found |= host_plans(lines, [host])
    silent = masked(f"pyinfra ended before it told of this host: {words}")
    return [found.get(host, HostPlan(host, "failed", silent)) for host in work.hosts]


@dataclass
class _Seen:
    """What the lines told of one host so far; files by their operation."""

    unreachable: str | None = None
    refused: str | None = None
    left: bool = False
    operations: list[tuple[str, str]] = field(default_factory=list)
    prepared: int = 0
    files: dict[str, tuple[tuple[FileChange, ...], str | None]] = field(default_factory=dict)


def host_plans(lines: Iterable[str], hosts: Iterable[str]) -> dict[str, HostPlan]:
    """Given the lines of a dry slice's report, return what would become of each host that they tell of to the end."""
    seen = {host: _Seen() for host in hosts}
    for told in told_of(lines, seen):
        _take(seen[told["host"]], told)
    return {host: plan for host, one in seen.items() if (plan := _judge(host, one)) is not None}


def _take(seen: _Seen, told: dict[str, Any]) -> None:
    what = told["what"]
    if what == "unreachable":
        seen.unreachable = masked(told["reason"])
    elif what == "refused":
        # The first says why; what follows is that nothing came of it.
        seen.refused = seen.refused or masked(told["reason"])
    elif what == "files":
        seen.files[told["operation"]] = tuple(FileChange(**each) for each in told["files"]), told["note"]
    elif what == "prepared":
        seen.prepared += 1
        if told["changes"]:
            seen.operations.append((told["operation"], told["name"]))
    elif what == "left":
        seen.left = True


def _judge(host: str, seen: _Seen) -> HostPlan | None:
    if seen.unreachable is not None:
        return HostPlan(host, "unreported", seen.unreachable)
    if seen.refused is not None:
        return HostPlan(host, "failed", seen.refused)
    if not seen.left:
        return None
    if not seen.prepared:
        return HostPlan(host, "failed", "its deploy has nothing to do for this host: is it of the right kind?")
    steps = tuple(Step(masked(name), *seen.files.get(operation, ((), None))) for operation, name in seen.operations)
    # Removals first; the rest as they would run.
    ordered = tuple(sorted(steps, key=lambda step: not step.removes))
    return HostPlan(host, "changes" if steps else "unchanged", None, ordered)

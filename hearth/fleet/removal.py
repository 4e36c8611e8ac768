"""Households that are gone from the inventory: who loses access, and when a run refuses to take it away.

The relay's and the Pi's converges do it, since what they put is rendered whole: the route, the tunnel's key and live
sessions go with the household. Here is only what is said before, and what is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from hearth.fleet.history import WHOLE
from hearth.fleet.limits import Limit
from hearth.fleet.records import Record

MAY_REMOVE = (*WHOLE, "since")
"""The selections of runs that may take access away."""


@dataclass(frozen=True)
class Removals:
    """``gone``: households that are no more, each with its slot; ``known``: how many there were before;
    ``said``: those of them that a run over all has announced and begun to take away."""

    gone: Mapping[str, int]
    known: int
    said: Collection[str] = ()


def removals(latest_first: Iterable[Record], households: Collection[str], servers: Collection[str]) -> Removals:
    """Compare the inventory's ``households`` with those that earlier runs over all knew.

    ``servers``: the relays and Pis. Records are read back to the last run in which all of these converged: what was
    gone then has lost its access. A run over what has changed leaves out servers that had lost it before. A run over
    what has changed since a revision goes to all servers that those have lost whom it removes, and proves no more.
    """
    before: dict[str, int] = {}
    said: set[str] = set()
    over: set[str] = set()
    for record in latest_first:
        if record.begin.selection not in MAY_REMOVE:
            continue
        for name, slot in record.begin.households.items():
            if name not in over:
                before.setdefault(name, slot)
        said |= set(record.begin.removed)
        if record.begin.selection == "since":
            if all(record.state(server) == "converged" for server in servers if server in record.planned):
                over |= set(record.begin.removed) - set(before)
            continue
        gone_to = servers if record.begin.selection == "all" else [each for each in servers if each in record.planned]
        if all(record.state(server) == "converged" for server in gone_to):
            break
    gone = {name: slot for name, slot in before.items() if name not in households}
    return Removals(gone, len(before), frozenset(said & set(gone)))


def refusal(
    found: Removals, limit: Limit, is_whole_run: bool, servers_in_run: Collection[str], may_remove_all: bool
) -> str | None:
    """Why a run must not begin because of households that are gone, in one sentence that says what to do, or None.

    + limit: ``--max-removals``
    + is_whole_run: the run is about all hosts, and not some that were named or are pending
    + servers_in_run: the relays and Pis that it is about; without any, nobody loses anything
    + may_remove_all: ``--remove-all``
    """
    count, names = len(found.gone), ", ".join(sorted(found.gone))
    unsaid = set(found.gone) - set(found.said)
    if not count or not servers_in_run:
        return None
    if not is_whole_run:
        return (
            f"{names} would lose access through {', '.join(sorted(servers_in_run))}: a household is removed by a run "
            "over the whole fleet only; leave --limit and --pending out, or put its file back"
            if unsaid
            else None
        )
    if count == found.known and not may_remove_all:
        return (
            f"all {count} households that this fleet had are gone from the inventory: is it the right one? "
            "Give --remove-all if they shall really lose access"
        )
    if count > limit.allowed(found.known) and not may_remove_all:
        return (
            f"{count} of {found.known} households are gone from the inventory ({names}), and --max-removals is "
            f"{limit}: put their files back, or raise it to {count}"
        )
    return None

"""Which hosts a run is about, and in what order: canary first, the servers before the boxes that need them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch

from hearth.fleet.desired import CHECKOUT, DEPLOYS, all_hosts, kind_of
from hearth.fleet.errors import RunError
from hearth.fleet.limits import Limit, waves
from hearth.fleet.records import Record
from hearth.inventory.faults import suggestion
from hearth.inventory.hosts import Fleet

GROUPS = {"boxes": "box", "relays": "relay", "stores": "store", "pis": "pi"}


class ChoiceError(RunError):
    """What was asked for names no host; the message says which word, and what there is."""


@dataclass(frozen=True)
class Chosen:
    """The hosts of a run, in the fleet's order, and those left out since this version has no deploy for their kind."""

    hosts: tuple[str, ...]
    without_deploy: tuple[str, ...] = ()


def limited(fleet: Fleet, patterns: Iterable[str]) -> tuple[str, ...]:
    """The hosts that ``--limit`` names, in the fleet's order: hosts, households, groups, patterns such as ``box-m*``.

    Raises ChoiceError for the first pattern that matches nothing.
    """
    hosts = all_hosts(fleet)
    names = {name: {name} for name in hosts} | {
        each.id: {each.box} for each in fleet.households if each.id not in hosts
    }
    names |= {f"household_{each.id}": {each.box} for each in fleet.households}
    names |= {group: {name for name, host in hosts.items() if kind_of(host) == kind} for group, kind in GROUPS.items()}
    found: set[str] = set()
    for pattern in (part for each in patterns for part in each.split(",")):
        matched = {host for name, some in names.items() if fnmatch(name, pattern) for host in some}
        if not matched:
            raise ChoiceError(
                f"--limit {pattern}: the inventory has no such host, household or group{suggestion(pattern, names)}"
            )
        found |= matched
    return tuple(name for name in hosts if name in found)


def with_deploys(fleet: Fleet, hosts: Iterable[str], deploys: Collection[str]) -> Chosen:
    """Leave out the hosts of a kind without a deploy. ``deploys``: the kinds that have one."""
    every = all_hosts(fleet)
    hosts = tuple(hosts)
    return Chosen(
        tuple(name for name in hosts if kind_of(every[name]) in deploys),
        tuple(name for name in hosts if kind_of(every[name]) not in deploys),
    )


def kinds_with_deploys() -> frozenset[str]:
    """The kinds of hosts that this checkout has a deploy for."""
    return frozenset(kind for kind, deploy in DEPLOYS.items() if (CHECKOUT / deploy).is_file())


def left_to_do(record: Record, fleet: Fleet, desired: Mapping[str, str], reached: Mapping[str, str]) -> tuple[str, ...]:
    """The hosts with which a stopped run goes on, in the fleet's order.

    Those that it did not converge, and those whose desired state has changed since it did; of a run over all also the
    hosts that are new. ``reached``: the desired states that hosts reached in that run.
    """
    planned = set(all_hosts(fleet)) if record.begin.selection == "all" else set(record.planned)
    return tuple(
        name
        for name in all_hosts(fleet)
        if name in planned and not (record.state(name) == "converged" and reached.get(name) == desired[name])
    )


def ordered_waves(fleet: Fleet, hosts: Collection[str], ends: Iterable[Limit]) -> tuple[tuple[str, ...], ...]:
    """Cut the hosts of a run into waves.

    A relay alone first (the canary's, when it is among them), then the other relays, stores and Pis, then the boxes:
    the canary alone, then as ``ends`` say.
    """
    wanted = frozenset(hosts)
    kinds = {name: kind_of(host) for name, host in all_hosts(fleet).items() if name in wanted}
    boxes = [name for name, kind in kinds.items() if kind == "box"]
    canary = canary_of(fleet, boxes)
    boxes.sort(key=lambda name: name != canary)
    relays = [name for name, kind in kinds.items() if kind == "relay"]
    first = next((each.relay for each in fleet.households if each.box == canary), None)
    relays.sort(key=lambda name: name != first)
    others = (*relays[1:], *(name for name, kind in kinds.items() if kind in ("store", "pi")))
    servers = (tuple(relays[:1]), others) if relays else (others[:1], others[1:])
    return tuple(wave for wave in (*servers, *waves(boxes, ends)) if wave)


def canary_of(fleet: Fleet, boxes: Collection[str]) -> str | None:
    """The box that goes first: fleet.yaml's canary if it is among them, else the first in the inventory's order."""
    named = next((each.box for each in fleet.households if each.id == fleet.canary), None)
    return named if named in boxes else next(iter(boxes), None)


def needs(fleet: Fleet) -> dict[str, str]:
    """The relay that each box with a tunnel needs, by the box's name."""
    return {each.box: each.relay for each in fleet.households if each.relay is not None}

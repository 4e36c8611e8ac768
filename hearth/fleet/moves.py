"""Households that were restored on a new box: their name moves there, and the old box's access ends.

The relay's converge does both at once, since what it puts is rendered whole. Here is only what is said of it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hearth.inventory.hosts import Fleet


@dataclass(frozen=True)
class Move:
    """A household whose box was replaced. ``old``, ``new``: the households' ids; ``slot``: the old one's."""

    domain: str
    old: str
    new: str
    slot: int


def moves(fleet: Fleet, servers: Collection[str]) -> tuple[Move, ...]:
    """The moves that the converge of ``servers`` (relays and stores, by name) makes, or has made already."""
    return tuple(
        Move(each.domain, each.id, each.replaced_by, each.slot)
        for each in fleet.households
        if each.replaced_by is not None and {each.relay, each.backup.store} & set(servers)
    )


def words(move: Move) -> str:
    """A move in a sentence."""
    return (
        f"{move.domain} moves from box-{move.old} to box-{move.new}; box-{move.old} loses its tunnel's key, its live "
        "sessions and its login at the store"
    )


def afterwards(move: Move, today: str) -> str:
    """What the operator does with the old household's file, once that is done."""
    return (
        f"then delete households/{move.old}.yaml and let its slot rest, in fleet.yaml:  "
        f"retired: [{{slot: {move.slot}, since: {today}, id: {move.old}}}]"
    )

"""The fleet as pyinfra's inventory: groups of hosts, each with its slice of the fleet as host data."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hearth.inventory.hosts import Groups, Host
from hearth.inventory.load import load_or_raise

SLICE = ".slice"
"""How a file ends that holds ready-made groups of some hosts, pickled: see ``hearth.fleet.slices``."""


def groups(folder: Path) -> Groups:
    """Given an inventory's folder, return pyinfra's groups; raise InventoryError when it has faults.

    ``boxes``, ``relays``, ``stores`` (those with a host of their own), ``pis`` and one ``household_ID`` each. A box has
    its slice as ``host.data.box``, a relay, store or Pi as ``host.data.relay``, ``.store`` or ``.pi``; every host has
    ``host.data.roads`` for the connector.
    """
    fleet = load_or_raise(folder)
    boxes = [_host(box, "box") for box in fleet.boxes()]
    named = {
        "boxes": boxes,
        "relays": [_host(relay, "relay") for relay in fleet.relay_hosts()],
        "stores": [_host(store, "store") for store in fleet.store_hosts()],
        "pis": [_host(pi, "pi") for pi in fleet.pi_hosts()],
    }
    # pyinfra would collect "all" from the groups by itself, in time that grows with the square of their number.
    everything = [host for hosts in named.values() for host in hosts]
    households = {f"household_{data['box'].household.id}": [(name, data)] for name, data in boxes}
    return {**named, **households, "all": everything}


def sliced(everything: Groups, patterns: Iterable[str]) -> Groups:
    """The groups with those hosts alone that pyinfra's patterns name: a group, or a shell's pattern of host names.

    All hosts when there are no patterns, or when one of them names none of these: then pyinfra is to say so, or knows
    more groups than we. Making a host ready costs pyinfra time, also when it leaves it alone.
    """
    wanted: set[str] = set()
    for pattern in patterns:
        if pattern in everything and pattern != "all":
            found = {name for name, _ in everything[pattern]}
        else:
            found = {name for name, _ in everything["all"] if fnmatch(plain(name), pattern)}
        if not found:
            return everything
        wanted |= found
    if not wanted:
        return everything
    kept = {group: [host for host in hosts if host[0] in wanted] for group, hosts in everything.items()}
    return {group: hosts for group, hosts in kept.items() if hosts}


def plain(name: str) -> str:
    """A host's name as people say it: ``box-mueller`` for ``@hearth/box-mueller``."""
    return name.removeprefix("@hearth/")


def _host(host: Host, data_name: str) -> tuple[str, dict[str, Any]]:
    # The connector "hearth" takes the name after the slash, so that --limit box-mueller works.
    return f"@hearth/{host.name}", {data_name: host, "roads": host.roads}

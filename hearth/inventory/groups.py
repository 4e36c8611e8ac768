"""The fleet as pyinfra's inventory: groups of hosts, each with its slice of the fleet as host data."""

from __future__ import annotations

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


def _host(host: Host, data_name: str) -> tuple[str, dict[str, Any]]:
    # The connector "hearth" takes the name after the slash, so that --limit box-mueller works.
    return f"@hearth/{host.name}", {data_name: host, "roads": host.roads}

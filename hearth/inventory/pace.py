"""pyinfra at ten thousand hosts: the three places where its time grows with their square, or where it waits for disks.

pyinfra 3.10, before its first connection to one of 10,000 hosts, reads the list of installed connectors once a host
(``Inventory.make_hosts_and_groups``), looks through a group's list for each host that it adds (same place), and
measures the names of all hosts once a host (``Host.init``). Each is mended alone, and
tests/unit/inventory/test_pace.py compares what comes out with what stock pyinfra makes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any

import pyinfra.api.inventory
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory

from hearth.wrapping import wrap

_LONGEST = "longest_name_of_hearth"


def quicken_pyinfra() -> None:
    """Mend the three places; doing it again changes nothing."""
    wrap(pyinfra.api.inventory, "get_all_connectors", _read_once)
    wrap(Inventory, "make_hosts_and_groups", _with_quick_groups)
    wrap(Host, "init", _initialised)


@cache
def _read_once(stock: Callable[[], Any]) -> Any:
    """No connector is installed while pyinfra runs."""
    return stock()


class _Members(list[Host]):
    """A group's hosts, in their order, that knows at once whether it has one."""

    def __init__(self) -> None:
        super().__init__()
        self._known: set[Host] = set()

    def __contains__(self, host: object) -> bool:
        return host in self._known

    def append(self, host: Host) -> None:
        self._known.add(host)
        super().append(host)


def _with_quick_groups(stock: Callable[..., None], inventory: Inventory, *arguments: Any) -> None:
    inventory.groups = defaultdict(_Members, inventory.groups)
    stock(inventory, *arguments)
    inventory.groups = defaultdict(list, {name: list(members) for name, members in inventory.groups.items()})


def _initialised(_stock: Callable[..., None], host: Host, state: Any) -> None:
    """What ``Host.init`` of pyinfra 3.10 does, with the longest name looked for once an inventory."""
    inventory = host.inventory
    if not hasattr(inventory, _LONGEST):
        setattr(inventory, _LONGEST, max(len(each.name) for each in inventory))
    host.state = state
    host.connector = host.connector_cls(state, host)
    host.print_prefix_padding = " " * (getattr(inventory, _LONGEST) - len(host.name))

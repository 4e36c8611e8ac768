"""The roads to each host: what this machine knows (local.yaml) and what was collected, put in order."""

from __future__ import annotations

from collections.abc import Iterable

from hearth.inventory.collected import Collected
from hearth.inventory.defaults import SSH_PORT
from hearth.inventory.documents import Document, first
from hearth.inventory.hosts import Road
from hearth.inventory.local import expanded, path_in
from hearth.inventory.model import Household, Relay, Store, SupportPi
from hearth.layout import SSH_TUNNEL_PORT


def roads(
    local: Document | None,
    operator: str,
    servers: Iterable[Relay | SupportPi | Store],
    households: Iterable[Household],
    told: dict[str, Collected],
) -> dict[str, tuple[Road, ...]]:
    """The roads to each host, in the order in which they are tried; hosts without any are left out.

    A box, once it has been collected: through its relay, then through the fleet's others (a box that is to move to
    another relay has its tunnel at the old one until it is converged), or at its domain when it has no relay; then
    straight, then the first day's. A relay, Pi or store: straight (without an entry in local.yaml at its own address,
    once collected), then the first day's.

    ``operator``: the fleet's first operator, for when local.yaml names none. ``told``: what was collected, by host.
    """
    servers = tuple(servers)
    relays = [server.name for server in servers if isinstance(server, Relay) and server.name in told]
    named = first(local, "operator.name", str) if local else None
    user = named.value if named else operator
    identity = path_in(local.file.parent, first(local, "operator.identity", str)) if local else None
    found: dict[str, tuple[Road, ...]] = {}
    for server in servers:
        found[server.name] = _local(local, server.name, server.address, server.ssh_port, user)
        if not found[server.name] and server.name in told:
            keys = told[server.name].host_keys
            found[server.name] = (Road(server.address, server.ssh_port, user, keys, identity),)
    for household in households:
        straight = _local(local, household.box, "", household.ssh_port, user)
        from_outside: tuple[Road, ...] = ()
        if household.box in told:
            keys, address = told[household.box].host_keys, str(household.tunnel_address)
            if household.relay is None:
                from_outside = (Road(household.domain, household.ssh_port, user, keys, identity),)
            else:
                from_outside = tuple(
                    Road(address, SSH_TUNNEL_PORT, user, keys, identity, via=found[relay][0])
                    for relay in sorted(relays, key=lambda relay: relay != household.relay)
                )
        found[household.box] = (*from_outside, *straight)
    return {name: ways for name, ways in found.items() if ways}


def _local(local: Document | None, name: str, address: str, ssh_port: int, user: str) -> tuple[Road, ...]:
    """The two roads that local.yaml gives: the operator's own and the first day's.

    ``address``: the one in the inventory, empty for boxes. ``user``: the operator.
    """
    host = local.data.get("hosts", {}).get(name) if local else None
    if local is None or host is None:
        return ()
    folder = local.file.parent
    address, keys = host.get("address", address), tuple(host["host_keys"])
    bench = expanded(folder, host["identity"]) if "identity" in host else None
    return (
        Road(address, ssh_port, user, keys, path_in(folder, first(local, "operator.identity", str))),
        Road(address, host.get("port", SSH_PORT), host.get("user", "root"), keys, bench, first_day=True),
    )

"""What holds where a household says nothing: the fleet's ``defaults``, else the values here."""

from __future__ import annotations

from typing import TypeVar

from hearth.inventory.documents import Document, Found, find, first
from hearth.inventory.marks import MarkedDict

T = TypeVar("T")

# By path in a household's file; docs/inventory.md and the schemas name the same values, and a test compares them.
# post_limit and room follow from upload_limit instead.
BUILT_IN: dict[str, str | int | bool] = {
    "owncloud.product": "owncloud",
    "owncloud.upload_limit": "2G",
    "owncloud.memory_limit": "512M",
    "updates.window": "03:00-05:00",
    "updates.reboot": True,
    "updates.release": "window",
    "backup.enabled": True,
    "backup.window": "01:00-03:00",
    "backup.max_age_days": 3,
    "backup.upload_limit": "1M",
}
SSH_PORT = 22
TUNNEL_PORT = 9212
SOCKS_PORT = 22999
STORE_QUOTA = "500G"
STORE_GRACE_DAYS = 90


def stated(fleet: Document, household: Document, path: str, kind: type[T]) -> Found[T] | None:
    """What the household says at ``path``, else what the fleet's defaults say, else None."""
    return first(household, path, kind) or first(fleet, f"defaults.{path}", kind)


def setting(fleet: Document, household: Document, path: str, kind: type[T]) -> T:
    """The value that holds for the household at ``path``, which must be one of ``BUILT_IN``."""
    found = stated(fleet, household, path, kind)
    value = found.value if found else BUILT_IN[path]
    if not isinstance(value, kind):
        raise TypeError(f"{path} is asked for as {kind.__name__}, but is {type(value).__name__}")
    return value


def issuer_of(fleet: Document, household: Document) -> tuple[str, Found[str] | None]:
    """Who issues the household's certificate, and where that is said (None: nowhere)."""
    path = "certificates.issuer"
    found = first(household, path, str) or first(fleet, path, str)
    return (found.value, found) if found else ("operator", None)


def stores_of(fleet: Document) -> dict[str, Found[MarkedDict]]:
    """The stores of fleet.yaml by their names, in its order."""
    return {
        name: found for found in find(fleet, "stores.*", MarkedDict) if isinstance(name := found.value.get("name"), str)
    }


def relay_names(fleet: Document) -> frozenset[str]:
    """The names of fleet.yaml's relays."""
    return frozenset(found.value for found in find(fleet, "relays.*.name", str))


def own_store_hosts(fleet: Document) -> tuple[Found[MarkedDict], ...]:
    """The stores of fleet.yaml that are hosts of their own, and lie on no relay."""
    relays = relay_names(fleet)
    return tuple(found for name, found in stores_of(fleet).items() if name not in relays)


def backup_store(fleet: Document, household: Document, relay: str | None) -> str | None:
    """The store that holds for a household whose tunnel ends at ``relay``, or None.

    What it or the fleet's defaults name; else the store on its relay; else the first that is a host of its own; else
    the fleet's first, which its tunnel does not reach, as the rules tell.
    """
    enabled = stated(fleet, household, "backup.enabled", bool)
    if (enabled and not enabled.value) or first(household, "backup.repository", str):
        return None
    found = stated(fleet, household, "backup.store", str)
    if found:
        return found.value
    stores, relays = stores_of(fleet), relay_names(fleet)
    own = [name for name in stores if name not in relays]
    return relay if relay in stores else next(iter((*own, *stores)), None)


def zone_of(fleet: Document, dynamic_dns: dict[str, object]) -> str:
    """The zone that a ``dynamic_dns`` (a mapping of either file) updates: its own, else the fleet's."""
    zone = dynamic_dns.get("zone", fleet.data.get("zone"))
    return zone if isinstance(zone, str) else ""


def lies_in(domain: str, zone: str) -> bool:
    """Whether a domain name lies in a zone, or is its top."""
    return domain == zone or domain.endswith(f".{zone}")


def ssh_port_of(fleet: Document, host: dict[str, object]) -> int:
    """The SSH port of a relay or Pi (its mapping in fleet.yaml): its own, else the fleet's, else 22."""
    port = host.get("ssh_port")
    if isinstance(port, int):
        return port
    found = first(fleet, "ssh_port", int)
    return found.value if found else SSH_PORT


def ports_of(fleet: Document, host: dict[str, object]) -> tuple[int, int]:
    """The SSH port and the tunnel port of a relay or Pi (its mapping in fleet.yaml)."""
    tunnel = host.get("tunnel_port", TUNNEL_PORT)
    return ssh_port_of(fleet, host), tunnel if isinstance(tunnel, int) else TUNNEL_PORT


def pi_ports_of(fleet: Document, pi: dict[str, object]) -> tuple[int, int, int]:
    """The SSH port, the tunnel port and the SOCKS port of a Pi (its mapping in fleet.yaml)."""
    socks = pi.get("socks_port", SOCKS_PORT)
    return *ports_of(fleet, pi), socks if isinstance(socks, int) else SOCKS_PORT

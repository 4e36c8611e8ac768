"""The health gate after a wave: which looks from outside a host owes, and what they come to. Pure.

``hearth.fleet.probes`` does the looking. Only a host that has converged is looked at; one that does not pass counts
as failed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hearth.fleet.events import Check
from hearth.inventory.hosts import Authority, Box, Fleet, Host, PiHost, RelayHost, Road, StoreHost
from hearth.inventory.model import Certificates

HTTPS = 443


@dataclass(frozen=True)
class Web:
    """A household's cloud as a visitor asks for it.

    ``address``: where the connection goes. ``name``: whom TLS asks for. ``root``: who must vouch for it (PEM); None:
    whoever this machine trusts.
    """

    address: str
    name: str
    root: Path | None
    port: int = HTTPS


@dataclass(frozen=True)
class Outside:
    """What of a host must answer from outside: its cloud, its sshd (through its tunnel, if its road has a relay), its
    tunnel server's port; each None if it owes none."""

    host: str
    web: Web | None = None
    sshd: Road | None = None
    tunnel_server: tuple[str, int] | None = None


def outside(host: Host, relay_roads: Mapping[str, tuple[Road, ...]]) -> Outside | None:
    """What a host owes from outside; None when nothing can be asked yet, as on its first day.

    ``relay_roads``: the roads to each relay; the first one says where this machine finds it.
    """
    lasting = tuple(road for road in host.roads if not road.first_day)
    if isinstance(host, RelayHost | PiHost):
        if not lasting:
            return None
        server = host.relay if isinstance(host, RelayHost) else host.pi
        # A server whose tunnel keys are not collected may not have converged its tunnel server before.
        port = (lasting[0].address, server.tunnel_port) if server.tunnel_host_keys else None
        return Outside(host.name, sshd=lasting[0], tunnel_server=port)
    if isinstance(host, StoreHost) and lasting:
        return Outside(host.name, sshd=lasting[0])
    if not isinstance(host, Box) or not lasting:
        return None
    known = host.relay is None or (host.household.tunnel_key is not None and bool(host.relay.tunnel_host_keys))
    # A box that its relay does not know yet has no tunnel, and nobody comes to it from outside.
    return Outside(host.name, web=_web(host, relay_roads) if known else None, sshd=lasting[0])


def _web(box: Box, relay_roads: Mapping[str, tuple[Road, ...]]) -> Web | None:
    household = box.household
    root = _root(box.certificates, box.authority)
    if not household.has_name or (box.certificates.issuer == "operator" and root is None):
        return None
    if household.access != "relay" or box.relay is None:
        return Web(household.domain, household.domain, root)
    roads = relay_roads.get(box.relay.name, ())
    return Web(roads[0].address if roads else box.relay.address, household.domain, root)


def _root(certificates: Certificates, authority: Authority | None) -> Path | None:
    if certificates.issuer == "operator":
        return authority.tls_ca if authority else None
    return certificates.root


def relay_roads(fleet: Fleet) -> dict[str, tuple[Road, ...]]:
    """The roads to a fleet's relays, by the relay's name."""
    return {relay.name: fleet.roads.get(relay.name, ()) for relay in fleet.relays}


def status_fault(status: int, body: bytes) -> str | None:
    """What is wrong with the answer to /status.php, in a sentence, or None."""
    if status != 200:
        return f"/status.php answers with HTTP status {status}"
    try:
        told = json.loads(body)
        installed, maintenance, upgrade = (told.get(key) for key in ("installed", "maintenance", "needsDbUpgrade"))
    except (ValueError, AttributeError):
        return "/status.php does not answer with a status"
    if installed is not True:
        return "the cloud is not installed"
    if maintenance:
        return "the cloud is in maintenance mode"
    return "the cloud waits for its upgrade" if upgrade else None


def failure(checks: tuple[Check, ...]) -> str | None:
    """Why a host does not pass, in one sentence, or None."""
    reasons = [f"{check.name}: {check.reason}" for check in checks if not check.passed]
    return f"it converged, but from outside: {'; '.join(reasons)}" if reasons else None

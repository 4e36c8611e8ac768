"""The fleet and the hosts that it consists of: each host's slice of it, and the roads that lead there.

``hearth.inventory.load`` makes the fleet; a role takes the slice of one host (``Box``, ``RelayHost``, ``StoreHost``,
``PiHost``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from hearth.inventory.model import (
    Certificates,
    Helper,
    Household,
    Issuer,
    Operator,
    Relay,
    Release,
    Retired,
    Store,
    SupportPi,
)


@dataclass(frozen=True)
class Authority:
    """The fleet's own authority: public halves beside the inventory, private halves only on the operator's machine.

    ``tls_ca``: path of the X.509 root, PEM. ``ssh_user_ca``: the OpenSSH public key line. ``folder``: where the
    encrypted private keys lie; ``passphrase_file``: what opens them, or None to be asked.
    """

    tls_ca: Path
    ssh_user_ca: str
    folder: Path
    passphrase_file: Path | None = None


@dataclass(frozen=True)
class Road:
    """One way to log in to a host. ``host_keys``: the OpenSSH public keys it must show, never none.

    ``via``: the road to the relay through which this one goes (one hop); ``address`` and ``port`` are then the relay's
    loopback address of the household. ``first_day``: the image's login, which a converged host refuses.

    ``identity``: a private key file (a certificate ``FILE-cert.pub`` beside it is used too); None means ssh-agent and
    the operator's usual keys.
    """

    address: str
    port: int
    user: str
    host_keys: tuple[str, ...]
    identity: Path | None = None
    via: Road | None = None
    first_day: bool = False

    def to_json(self) -> dict[str, str | int]:
        """For ``pyinfra debug-inventory``."""
        return {"address": self.address, "port": self.port, "user": self.user}


@dataclass(frozen=True)
class Host:
    """What every kind of host has: its roads, in the order in which they are tried, and who administers it."""

    name: str
    roads: tuple[Road, ...]
    operators: tuple[Operator, ...]
    ssh_port: int
    time_zone: str
    authority: Authority | None

    def to_json(self) -> dict[str, str]:
        """For ``pyinfra debug-inventory``: the name stands for the slice."""
        return {"name": self.name}


@dataclass(frozen=True)
class Box(Host):
    """The slice of the fleet that a household's box is converged from (``host.data.box``), its relay included.

    ``certificates`` has the household's own issuer.
    """

    household: Household
    certificates: Certificates
    relay: Relay | None = None
    store: Store | None = None


@dataclass(frozen=True)
class StoreHost(Host):
    """The slice that a store with a host of its own is converged from (``host.data.store``).

    ``households``: those whose backups it keeps; ``relays``: where their tunnels end, who alone come to it.
    """

    store: Store
    households: tuple[Household, ...]
    relays: tuple[Relay, ...]


@dataclass(frozen=True)
class RelayHost(Host):
    """The slice that a relay is converged from (``host.data.relay``): itself and its households.

    ``stores``: those to which its households' tunnels may lead.
    """

    relay: Relay
    households: tuple[Household, ...]
    stores: tuple[Store, ...] = ()

    @property
    def store(self) -> Store | None:
        """The store that lies on this relay; its households are among the relay's."""
        return next((store for store in self.stores if store.on_relay), None)


@dataclass(frozen=True)
class PiHost(Host):
    """The slice that a support Pi is converged from (``host.data.pi``): itself, its households, the helpers."""

    pi: SupportPi
    households: tuple[Household, ...]
    helpers: tuple[Helper, ...]


@dataclass(frozen=True)
class Fleet:
    """The whole fleet. Hosts are derived: ``boxes()``, ``relay_hosts()``, ``store_hosts()`` and ``pi_hosts()``.

    ``canary``: the id of the household whose box goes first in a run over the fleet; None: the first of them.
    """

    name: str
    zone: str
    time_zone: str
    folder: Path
    operators: tuple[Operator, ...]
    helpers: tuple[Helper, ...]
    relays: tuple[Relay, ...]
    pis: tuple[SupportPi, ...]
    certificates: Certificates
    releases: tuple[Release, ...]
    households: tuple[Household, ...]
    authority: Authority | None = None
    roads: dict[str, tuple[Road, ...]] = field(default_factory=dict)
    canary: str | None = None
    retired: tuple[Retired, ...] = ()
    stores: tuple[Store, ...] = ()

    def boxes(self) -> tuple[Box, ...]:
        """The slice of each household's box, in the order of the households; a box that was replaced has none."""
        relays = {relay.name: relay for relay in self.relays}
        stores = {store.name: store for store in self.stores}
        certificates = {issuer: replace(self.certificates, issuer=issuer) for issuer in get_args(Issuer)}
        return tuple(
            Box(
                name=household.box,
                roads=self.roads.get(household.box, ()),
                operators=self.operators,
                ssh_port=household.ssh_port,
                time_zone=household.time_zone,
                authority=self.authority,
                household=household,
                certificates=certificates[household.issuer],
                relay=relays[household.relay] if household.relay else None,
                store=stores[household.backup.store] if household.backup.store else None,
            )
            for household in self.households
            if household.replaced_by is None
        )

    def relay_hosts(self) -> tuple[RelayHost, ...]:
        """The slice of each relay, in the order of fleet.yaml."""
        return tuple(
            RelayHost(
                name=relay.name,
                roads=self.roads.get(relay.name, ()),
                operators=self.operators,
                ssh_port=relay.ssh_port,
                time_zone=self.time_zone,
                authority=self.authority,
                relay=relay,
                households=tuple(household for household in self.households if household.relay == relay.name),
                stores=tuple(store for store in self.stores if store.name == relay.name or not store.on_relay),
            )
            for relay in self.relays
        )

    def store_hosts(self) -> tuple[StoreHost, ...]:
        """The slice of each store that is a host of its own, in the order of fleet.yaml."""
        return tuple(
            StoreHost(
                name=store.name,
                roads=self.roads.get(store.name, ()),
                operators=self.operators,
                ssh_port=store.ssh_port,
                time_zone=self.time_zone,
                authority=self.authority,
                store=store,
                households=(
                    mine := tuple(household for household in self.households if household.backup.store == store.name)
                ),
                relays=tuple(relay for relay in self.relays if any(each.relay == relay.name for each in mine)),
            )
            for store in self.stores
            if not store.on_relay
        )

    def pi_hosts(self) -> tuple[PiHost, ...]:
        """The slice of each support Pi, in the order of fleet.yaml."""
        return tuple(
            PiHost(
                name=pi.name,
                roads=self.roads.get(pi.name, ()),
                operators=self.operators,
                ssh_port=pi.ssh_port,
                time_zone=self.time_zone,
                authority=self.authority,
                pi=pi,
                households=tuple(each for each in self.households if each.pi == pi.name and each.is_current),
                helpers=self.helpers,
            )
            for pi in self.pis
        )


Groups = dict[str, list[tuple[str, dict[str, Any]]]]

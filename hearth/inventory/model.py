"""The inventory's data, validated and with defaults filled in: frozen, typed, in the inventory's own words.

``hearth.inventory.load`` makes these from YAML; roles take the slice of one host (``Box``, ``Relay``, ``SupportPi``)
and never look at YAML again. Nothing here is secret: see ``docs/inventory.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, time
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

Product = Literal["owncloud", "nextcloud"]
Issuer = Literal["operator", "acme"]
AccessKind = Literal["relay", "forwarded", "upnp"]


@dataclass(frozen=True)
class Operator:
    """A person who administers the fleet: an account with sudo on every host.

    ``keys``: OpenSSH public keys, one line each. A certificate of the fleet's SSH user authority whose principal is
    ``name`` is accepted as well.
    """

    name: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Release:
    """A pinned release of the product; ``sha256`` (hex) is what counts, ``url`` and ``mirrors`` only say where to look.

    ``archive_top``: the one folder at the top of the tarball. ``php``: the PHP it runs on, as in Debian's package
    names. ``ignore_deprecations``: work around releases that die of PHP's deprecation notices (ownCloud 11.0.0 does).
    """

    product: Product
    version: str
    url: str
    sha256: str
    archive_top: str
    php: str
    mirrors: tuple[str, ...] = ()
    ignore_deprecations: bool = False


LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


@dataclass(frozen=True)
class Certificates:
    """Who issues a box's TLS certificate.

    ``lifetime_days`` is for ``issuer: operator``, the rest for ``acme``: ``directory``, the URL of the server's
    directory (RFC 8555, 7.1.1); ``contact``, the mail address of its account, never None there; ``root``, a file
    on the operator's machine (PEM) with the authorities of a private server: its own, and that of what it issues.
    """

    issuer: Issuer = "operator"
    lifetime_days: int = 90
    directory: str = LETS_ENCRYPT
    contact: str | None = None
    root: Path | None = None


@dataclass(frozen=True)
class DynamicDns:
    """Where a box whose address changes tells it: the primary server of its ``zone``, by RFC 2136.

    ``address_url``: a page that answers with the asker's IPv4 address; None where the router tells it (``upnp``).
    """

    server: str
    zone: str
    port: int = 53
    ttl_s: int = 60
    address_url: str | None = None


@dataclass(frozen=True)
class Window:
    """The hours in which a box may update and reboot, in its own time zone; ``end`` before ``start`` spans midnight."""

    start: time
    end: time


@dataclass(frozen=True)
class Updates:
    """How a box keeps itself up to date.

    ``reboot``: restart inside the window when a package asks for it. ``release``: a moved ownCloud pin is applied in
    the ``window`` (by a timer on the box) or ``now`` (by the converge that brings it).
    """

    window: Window
    reboot: bool = True
    release: Literal["window", "now"] = "window"


@dataclass(frozen=True)
class CloudUser:
    """An account in the household's cloud; its password is made on the box and stays there."""

    name: str
    display_name: str
    admin: bool = False


@dataclass(frozen=True)
class OwnCloud:
    """The household's cloud. Sizes in bytes.

    ``upload_limit`` is the largest file; ``post_limit`` the largest form (never below it); ``memory_limit`` what one
    PHP process may use; ``room`` the free disk space that the box must have for spooling and storing uploads.
    """

    release: Release
    upload_limit: int
    post_limit: int
    memory_limit: int
    room: int
    users: tuple[CloudUser, ...] = ()
    apps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Backup:
    """The household's backup: when, and how old the last good one may become. Converged by a later release."""

    enabled: bool
    window: Window
    max_age_days: int


@dataclass(frozen=True)
class PersonKey:
    """The OpenSSH public key with which a person opens tunnels at a support Pi.

    ``until``: the last day on which it opens any, in the fleet's time zone; None means that it has no end.
    """

    key: str
    until: date | None = None


@dataclass(frozen=True)
class Screen:
    """A person in the household whose screen may be helped: the port on the support Pi, its key, who helps."""

    name: str
    port: int
    key: PersonKey
    helpers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Household:
    """One household, resolved. ``slot`` is its identity in the tunnel network (see ``tunnel_address``).

    ``relay``: where its tunnel ends; None (never with access ``relay``) when it has none. ``dynamic_dns``: never with
    access ``relay``. ``pi``: the support Pi where its screens meet their helpers; None when the fleet has none.
    ``tunnel_key`` and ``dns_key``: the public halves of the keys with which the box opens its tunnel and signs its DNS
    updates (the data of a KEY record), as ``hearth collect`` found them; None before that.
    """

    id: str
    slot: int
    domain: str
    relay: str | None
    public_port: int | None
    access: AccessKind
    ssh_port: int
    time_zone: str
    owncloud: OwnCloud
    updates: Updates
    backup: Backup
    screens: tuple[Screen, ...] = ()
    pi: str | None = None
    tunnel_key: str | None = None
    issuer: Issuer = "operator"
    dynamic_dns: DynamicDns | None = None
    dns_key: str | None = None

    @property
    def box(self) -> str:
        """The name of the household's box in pyinfra's inventory."""
        return f"box-{self.id}"

    @property
    def tunnel_address(self) -> IPv4Address:
        """The household's loopback address on its relay: slot s is 127.10.(s // 256).(s % 256)."""
        return IPv4Address(f"127.10.{self.slot // 256}.{self.slot % 256}")


@dataclass(frozen=True)
class Helper:
    """A person who may look at the screens that name it.

    ``socks``: the support Pis whose router pages they may open, by name.
    """

    name: str
    keys: tuple[PersonKey, ...]
    socks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Relay:
    """A relay VM: where households' tunnels end, at ``tunnel_port``.

    ``tunnel_host_keys``: the OpenSSH public keys that its tunnel sshd shows, as ``hearth collect`` found them; none
    before that, and boxes then have nobody to trust and open no tunnel.
    """

    name: str
    address: str
    ssh_port: int
    tunnel_port: int = 9212
    tunnel_host_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class RouterPage:
    """A router's page in a Pi's home network: an IP ``address`` and a port, and the ``name`` that browsers ask for."""

    address: str
    port: int = 80
    name: str | None = None


@dataclass(frozen=True)
class SupportPi:
    """A support Pi: where screens and helpers meet. ``tunnel_port`` and ``tunnel_host_keys`` are as a relay's.

    ``socks_port``: a second port of the same tunnel server. ``routers``: all that helpers may reach by SOCKS.
    """

    name: str
    address: str
    ssh_port: int
    tunnel_port: int
    tunnel_host_keys: tuple[str, ...] = ()
    socks_port: int = 22999
    routers: tuple[RouterPage, ...] = ()


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


@dataclass(frozen=True)
class RelayHost(Host):
    """The slice that a relay is converged from (``host.data.relay``): itself and its households."""

    relay: Relay
    households: tuple[Household, ...]


@dataclass(frozen=True)
class PiHost(Host):
    """The slice that a support Pi is converged from (``host.data.pi``): itself, its households, the helpers."""

    pi: SupportPi
    households: tuple[Household, ...]
    helpers: tuple[Helper, ...]


@dataclass(frozen=True)
class Retired:
    """A slot that a household gave up on the day ``since``; it rests before another household may have it."""

    slot: int
    since: date


@dataclass(frozen=True)
class Fleet:
    """The whole fleet. Hosts are derived: ``boxes()``, ``relay_hosts()`` and ``pi_hosts()``.

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

    def boxes(self) -> tuple[Box, ...]:
        """The slice of each household's box, in the order of the households."""
        relays = {relay.name: relay for relay in self.relays}
        return tuple(
            Box(
                name=household.box,
                roads=self.roads.get(household.box, ()),
                operators=self.operators,
                ssh_port=household.ssh_port,
                time_zone=household.time_zone,
                authority=self.authority,
                household=household,
                certificates=replace(self.certificates, issuer=household.issuer),
                relay=relays[household.relay] if household.relay else None,
            )
            for household in self.households
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
            )
            for relay in self.relays
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
                households=tuple(household for household in self.households if household.pi == pi.name),
                helpers=self.helpers,
            )
            for pi in self.pis
        )


Groups = dict[str, list[tuple[str, dict[str, Any]]]]

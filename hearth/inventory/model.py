"""The inventory's data, validated and with defaults filled in: frozen, typed, in the inventory's own words.

``hearth.inventory.load`` makes these from YAML; roles take the slice of one host (``hosts.py``) and never look at YAML
again. Nothing here is secret: see ``docs/inventory.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from hearth.layout import STORE_PORT, STORE_PRUNE_PORT

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
    """The household's backup: when, where to, and how old the last good one may become.

    ``store``: the name of the store that keeps it; ``repository``: a restic repository elsewhere in its place (without
    credentials). Both None: no backup is made, since it is not enabled or the fleet has no store.
    ``upload_limit_kib_s``: what it may send in a second. ``quota_bytes``: what the store takes of it at most.
    """

    enabled: bool
    window: Window
    max_age_days: int
    store: str | None = None
    repository: str | None = None
    upload_limit_kib_s: int = 1024
    quota_bytes: int = 500 << 30

    @property
    def is_made(self) -> bool:
        """Whether the box makes backups."""
        return self.store is not None or self.repository is not None


@dataclass(frozen=True)
class Restored:
    """What a box was restored from: the household whose backup it was, and when that was done (ISO 8601, UTC)."""

    source: str
    at: str


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

    ``store_login``: its login at its store (a bcrypt hash), ``paper_key``: the fingerprint of the household's paper
    key, ``restored``: what it was restored from; collected too. ``restore_from``: the household whose backup it is to
    be restored from, ``restore_repository``: where that one's lies when it is at no store. ``replaced_by``: the
    household that has been restored from this one's backup, and stands in its place. ``has_name``: whether ``domain``
    leads to this box; of two with one domain, the old one until the new one is restored.
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
    store_login: str | None = None
    paper_key: str | None = None
    restore_from: str | None = None
    restore_repository: str | None = None
    restored: Restored | None = None
    replaced_by: str | None = None
    has_name: bool = True

    @property
    def awaits_restore(self) -> bool:
        """Whether its box is still to be restored from another household's backup."""
        return self.restore_from is not None and self.restored is None

    @property
    def is_current(self) -> bool:
        """Whether its people are helped and served here: not before its restore, nor once another box has its place."""
        return not self.awaits_restore and self.replaced_by is None

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
class Store:
    """Where households' backups go: on the relay of the same ``name``, or on a host of its own at ``address``.

    ``address``: where it is reached from the relays; its relay's own loopback when it lies there (``on_relay``).
    ``grace_days``: how long it keeps what retention replaced. ``certificate``: what it shows (PEM), as ``hearth
    collect`` found it; None before that, and boxes then have nobody to trust and make no backup there.
    """

    name: str
    address: str
    ssh_port: int
    on_relay: bool
    quota_bytes: int = 500 << 30
    grace_days: int = 90
    certificate: str | None = None

    @property
    def places(self) -> tuple[str, str]:
        """Where a relay reaches it, as HOST:PORT: for backups, and for what it offers for clearing up."""
        at = f"[{self.address}]" if ":" in self.address else self.address
        return f"{at}:{STORE_PORT}", f"{at}:{STORE_PRUNE_PORT}"


@dataclass(frozen=True)
class Retired:
    """A slot that a household gave up on the day ``since``; it rests before another household may have it.

    ``id``: the household's; its backup may still be restored from.
    """

    slot: int
    since: date
    id: str | None = None

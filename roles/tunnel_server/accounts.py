"""Who may open which tunnel: accounts of the tunnel sshd, and their keys' lines. Pure.

Two fences stand around every account, and each has to do alone: what sshd's configuration allows the account
(``Kind``), and what the key's own line allows the key (``KeyLine``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from hearth import layout
from hearth.inventory.hosts import PiHost
from hearth.inventory.model import Helper, Household, PersonKey, RouterPage, Store
from hearth.render import OWNED

KEYS = "/etc/ssh/tunnel-keys"
"""The accounts' keys: root's, outside any home."""

NOLOGIN = "/usr/sbin/nologin"

KindName = Literal["tunnel", "screen", "viewer", "socks"]


@dataclass(frozen=True)
class Kind:
    """What sshd's configuration allows all keys of an account, in sshd's words.

    ``forwarding``: ``remote`` (the client publishes a port of its own here) or ``local`` (it reaches one from here);
    where keys of a ``remote`` kind may reach something as well, the account has ``yes``, and PermitOpen names it.
    ``gateway_ports``: ``clientspecified`` lets the client name the address that it listens on, ``no`` makes it this
    host's loopback whatever the client names. ``listen``: the patterns of PermitListen where the keys are too many to
    be told one by one. ``file_each``: the keys lie in a file for each name, and not all in one. sshd logs the file of a
    key that it accepts, so the journal then says who it was.
    """

    forwarding: Literal["remote", "local"]
    gateway_ports: Literal["clientspecified", "no"] = "no"
    listen: tuple[str, ...] = ()
    file_each: bool = True


KINDS: dict[KindName, Kind] = {
    "tunnel": Kind(
        "remote",
        gateway_ports="clientspecified",
        listen=(f"127.10.*:{layout.HTTPS_TUNNEL_PORT}", f"127.10.*:{layout.SSH_TUNNEL_PORT}"),
        file_each=False,
    ),
    "screen": Kind("remote"),
    "viewer": Kind("local"),
    "socks": Kind("local"),
}


@dataclass(frozen=True)
class KeyLine:
    """One key, and the only HOST:PORT pairs that it may listen on here (``listen``) or reach from here (``open``).

    ``key``: an OpenSSH public key; its comment does not count. ``name``: whose it is, as a path (``karl``,
    ``mueller/oma``). ``expires``: from when on the key opens nothing any more, an aware time; None for never.
    """

    key: str
    name: str
    listen: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    expires: datetime | None = None


@dataclass(frozen=True)
class Account:
    """An account of the tunnel sshd, what it is for, and every key that may use it.

    ``open_to``: what its keys may reach, those to come too. A session keeps the configuration that it came in under,
    so the first key must find its place open already.
    """

    name: str
    kind: KindName
    keys: tuple[KeyLine, ...]
    open_to: tuple[str, ...] = ()

    @property
    def forwarding(self) -> Literal["remote", "local", "yes"]:
        """AllowTcpForwarding: the kind's, or both ways."""
        kind = KINDS[self.kind].forwarding
        return "yes" if kind == "remote" and self.open else kind

    @property
    def listen(self) -> tuple[str, ...]:
        """PermitListen: the kind's patterns, or what the keys may do all together."""
        return KINDS[self.kind].listen or tuple(dict.fromkeys(place for line in self.keys for place in line.listen))

    @property
    def open(self) -> tuple[str, ...]:
        """PermitOpen: what the keys may reach all together, now and in time."""
        return tuple(dict.fromkeys((*self.open_to, *(place for line in self.keys for place in line.open))))


def render(line: KeyLine) -> str:
    """The line in the account's key file.

    ``restrict`` takes away what a key could do beside forwarding, in later versions of sshd too; but commands and sftp
    it leaves, hence ``command``. ``permitopen`` and ``permitlisten`` allow *all* where they are left out, so what may
    do nothing names a host that there is not.
    """
    permits = [
        *(f'permitlisten="{place}"' for place in line.listen or ("none:1",)),
        *(f'permitopen="{place}"' for place in line.open or ("none:1",)),
    ]
    end = [f'expiry-time="{line.expires.astimezone(UTC):%Y%m%d%H%M%S}Z"'] if line.expires else []
    options = ",".join(("restrict", "port-forwarding", f'command="{NOLOGIN}"', *permits, *end))
    return f"{options} {' '.join(line.key.split()[:2])} {line.name}"


def key_files(account: Account, folder: str = KEYS) -> dict[str, str]:
    """The account's key files, whole: path -> text."""
    if not KINDS[account.kind].file_each:
        return {f"{folder}/{account.name}": OWNED + "".join(f"{render(line)}\n" for line in account.keys)}
    texts: dict[str, str] = {}
    for line in account.keys:
        path = f"{folder}/{account.name}/{line.name}"
        texts[path] = f"{texts.get(path, OWNED)}{render(line)}\n"
    return texts


def household_account(households: Sequence[Household], stores: Iterable[Store] = ()) -> Account:
    """The relay's one account for all households' tunnels; who has no tunnel key yet, or was replaced, has no line.

    ``stores``: those that tunnels may lead to; each household's leads to the ports of its own store and to no other.
    """
    places = {store.name: store.places for store in stores}
    return Account(
        name=layout.TUNNEL_USER,
        kind="tunnel",
        keys=tuple(
            KeyLine(
                key=household.tunnel_key,
                name=household.id,
                listen=tuple(
                    f"{household.tunnel_address}:{port}"
                    for port in (layout.HTTPS_TUNNEL_PORT, layout.SSH_TUNNEL_PORT)
                    # Visitors come to some households directly; only the operator comes through their tunnel.
                    if port == layout.SSH_TUNNEL_PORT or household.access == "relay"
                ),
                open=places.get(household.backup.store or "", ()),
            )
            for household in households
            if household.tunnel_key is not None and household.replaced_by is None
        ),
        open_to=tuple(place for household in households for place in places.get(household.backup.store or "", ())),
    )


def support_accounts(machine: PiHost) -> tuple[Account, ...]:
    """The support Pi's accounts: ``screen`` for who is helped, ``viewer`` for who helps, ``socks`` for router pages."""
    zone = ZoneInfo(machine.time_zone)
    return (
        Account(layout.SCREEN_USER, "screen", tuple(_screen_lines(machine.households, zone))),
        Account(layout.VIEWER_USER, "viewer", tuple(_viewer_lines(machine.helpers, machine.households, zone))),
        Account(layout.SOCKS_USER, "socks", tuple(_socks_lines(machine, zone))),
    )


def ends(key: PersonKey, zone: ZoneInfo) -> datetime | None:
    """When a key ends: at the midnight after its last day."""
    if key.until is None:
        return None
    return datetime.combine(key.until + timedelta(days=1), time(), zone)


def _screen_lines(households: Iterable[Household], zone: ZoneInfo) -> Iterator[KeyLine]:
    for household in households:
        for screen in household.screens:
            # sshd compares what the client asks for as a text: "localhost" for -R 17934:… and -R localhost:17934:….
            places = (f"localhost:{screen.port}", f"127.0.0.1:{screen.port}")
            name = f"{household.id}/{screen.name}"
            yield KeyLine(screen.key.key, name, listen=places, expires=ends(screen.key, zone))


def _viewer_lines(helpers: Iterable[Helper], households: Iterable[Household], zone: ZoneInfo) -> Iterator[KeyLine]:
    screens = [screen for household in households for screen in household.screens]
    for helper in helpers:
        places = tuple(f"localhost:{screen.port}" for screen in screens if helper.name in screen.helpers)
        for key in helper.keys if places else ():
            yield KeyLine(key.key, helper.name, open=places, expires=ends(key, zone))


def _socks_lines(machine: PiHost, zone: ZoneInfo) -> Iterator[KeyLine]:
    places = tuple(dict.fromkeys(place for page in machine.pi.routers for place in page_places(page)))
    for helper in machine.helpers:
        for key in helper.keys if places and machine.name in helper.socks else ():
            yield KeyLine(key.key, helper.name, open=places, expires=ends(key, zone))


def page_places(page: RouterPage) -> tuple[str, ...]:
    """A router page by its address and by its name: sshd resolves no name before it compares."""
    address = f"[{page.address}]" if ":" in page.address else page.address
    return (f"{address}:{page.port}", *((f"{page.name}:{page.port}",) if page.name else ()))

"""Who may open which tunnel: accounts of the tunnel sshd, and their keys' lines. Pure.

Two fences stand around every account, and each has to do alone: what sshd's configuration allows the account
(``Kind``), and what the key's own line allows the key (``KeyLine``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hearth import layout
from hearth.inventory.model import Household

KEYS = "/etc/ssh/tunnel-keys"
"""The accounts' keys, a file each: root's, outside any home."""

NOLOGIN = "/usr/sbin/nologin"
HEAD = "# This file belongs to hearth and is replaced whole; changes made here are lost.\n"

KindName = Literal["tunnel"]


@dataclass(frozen=True)
class Kind:
    """What sshd's configuration allows all keys of an account, in sshd's words; empty means nothing.

    ``forwarding``: ``remote`` (the client publishes a port of its own here) or ``local`` (it reaches one from here).
    ``listen`` and ``open``: the patterns of PermitListen and PermitOpen.
    """

    forwarding: Literal["remote", "local"]
    listen: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


KINDS: dict[KindName, Kind] = {
    "tunnel": Kind("remote", listen=(f"127.10.*:{layout.HTTPS_TUNNEL_PORT}", f"127.10.*:{layout.SSH_TUNNEL_PORT}")),
}


@dataclass(frozen=True)
class KeyLine:
    """One key, and the only HOST:PORT pairs that it may listen on here (``listen``) or reach from here (``open``).

    ``key``: an OpenSSH public key; its comment does not count. ``name``: whose it is, one word.
    """

    key: str
    name: str
    listen: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


@dataclass(frozen=True)
class Account:
    """An account of the tunnel sshd, what it is for, and every key that may use it."""

    name: str
    kind: KindName
    keys: tuple[KeyLine, ...]


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
    options = ",".join(("restrict", "port-forwarding", f'command="{NOLOGIN}"', *permits))
    return f"{options} {' '.join(line.key.split()[:2])} {line.name}"


def key_file(account: Account) -> str:
    """The account's key file, whole."""
    return HEAD + "".join(f"{render(line)}\n" for line in account.keys)


def household_account(households: Iterable[Household]) -> Account:
    """The relay's one account for all households' tunnels; who has no tunnel key yet has no line."""
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
            )
            for household in households
            if household.tunnel_key is not None
        ),
    )

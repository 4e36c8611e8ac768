"""Who is connected to a support Pi now: asked from the Pi itself, over the operator's road."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pyinfra.api.exceptions import ConnectError

from hearth import layout
from hearth.connector import Session as Connection
from hearth.inventory.hosts import PiHost
from hearth.login import first_open

TIMEOUT_S = 20.0


class SessionsError(Exception):
    """A Pi did not tell; the message says why and what to do."""


@dataclass(frozen=True)
class Session:
    """A live tunnel. What neither the Pi's journal nor its key files tell any more is None.

    ``person``: HOUSEHOLD/NAME or a helper's name. ``kind``: the account. ``since``: aware. ``source``: the address that
    it comes from. ``port``: of the one screen that it is about.
    """

    pi: str
    kind: str
    person: str | None = None
    since: datetime | None = None
    source: str | None = None
    port: int | None = None


@dataclass(frozen=True)
class Told:
    """What asking one Pi came to: its sessions, the oldest first, or the reason why it failed."""

    pi: str
    sessions: tuple[Session, ...] = ()
    failure: str | None = None


def ask(host: PiHost) -> Told:
    """Ask one Pi; never raises for what the Pi does."""
    try:
        client, road = first_open(host.name, host.roads, TIMEOUT_S)
        try:
            status, output = Connection(client, road.user).run(f"{layout.TUNNEL_SESSIONS} list")
        finally:
            client.close()
        if status != 0:
            raise SessionsError(f"it has no list of its tunnels; converge it ({output[-200:]})")
        return Told(host.name, parse(host.name, output.splitlines()))
    except (SessionsError, ConnectError) as fault:
        return Told(host.name, failure=str(fault))


def parse(pi: str, lines: Iterable[str]) -> tuple[Session, ...]:
    """Given the JSON lines of a Pi's ``tunnel-sessions list``, return its sessions. Raises SessionsError."""
    found = []
    for line in lines:
        try:
            told = json.loads(line)
            session = Session(
                pi,
                kind=str(told["kind"]),
                # The Pi's key files have a dot, since a file's name has no slash; households have no dot in theirs.
                person=told["person"] and str(told["person"]).replace(".", "/", 1),
                since=told["since"] and datetime.fromisoformat(told["since"]),
                source=told["from"] and str(told["from"]),
                port=told["port"] and int(told["port"]),
            )
        except (ValueError, TypeError, KeyError) as fault:
            raise SessionsError(f"its answer cannot be used: {line[:60]!r}; converge it") from fault
        found.append(session)
    return tuple(found)


def data(told: Told) -> list[dict[str, str | int | None]]:
    """The sessions for programs: plain data with stable names."""
    return [
        {
            "pi": each.pi,
            "person": each.person,
            "kind": each.kind,
            "since": each.since.isoformat() if each.since else None,
            "from": each.source,
            "port": each.port,
        }
        for each in told.sessions
    ]

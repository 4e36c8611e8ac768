"""Logging in to a host over its roads, straight or through a relay: host keys pinned, each refusal in words.

Nothing of the operator's own SSH settings takes part: no ssh_config, no known_hosts, which is not written either.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Sequence

import paramiko
from paramiko.client import SSHClient as ParamikoClient
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.connectors.ssh_util import load_key_with_certificate

from hearth.inventory.hosts import Road
from hearth.line import Line

KEEPALIVE_S = 15
# What paramiko would print of a closed tunnel on standard error is told in words, by NoRoadError.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class NoRoadError(ConnectError):
    """No road leads to the host; the message names each that was tried, and why it failed."""


class RefusedError(NoRoadError):
    """The host answered and does not let this account in; asking again will not change its mind."""


def pin(client: ParamikoClient, road: Road) -> None:
    """Make ``client`` accept the road's host keys and no other. Raises NoRoadError when there is none to pin."""
    if not road.host_keys:
        raise NoRoadError("no host key is pinned; add it under hosts: in the inventory's local.yaml")
    name = road.address if road.port == 22 else f"[{road.address}]:{road.port}"
    for line in road.host_keys:
        entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{name} {line}")
        if entry is None or entry.key is None:
            raise NoRoadError(f"a pinned host key cannot be read: {line[:40]}…")
        client.get_host_keys().add(name, entry.key.get_name(), entry.key)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())


def login(road: Road, timeout_s: float) -> Line:
    """Log in over one road. Raises NoRoadError (RefusedError when sshd refused) with the reason in words."""
    client = Line()
    pin(client, road)
    connection = None
    try:
        key = load_key_with_certificate(str(road.identity), allow_prompt=False) if road.identity else None
        connection = _connection(road, timeout_s)
        # pyinfra's client differs from paramiko's in connect() alone, which reads ssh_config and known_hosts.
        ParamikoClient.connect(
            client,
            road.address,
            port=road.port,
            username=road.user,
            pkey=key,
            sock=connection,
            allow_agent=key is None,
            look_for_keys=key is None,
            timeout=timeout_s,
            banner_timeout=timeout_s,
            auth_timeout=timeout_s,
        )
    except (OSError, EOFError, paramiko.SSHException, PyinfraError) as fault:
        client.close()
        if connection is not None:
            connection.close()
        if isinstance(fault, NoRoadError):
            raise
        kind = RefusedError if isinstance(fault, paramiko.AuthenticationException) else NoRoadError
        raise kind(_reason(fault)) from fault
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(KEEPALIVE_S)
    return client


def _reason(fault: Exception) -> str:
    if isinstance(fault, paramiko.BadHostKeyException):
        return f"it shows another host key than the pinned one ({fault.key.get_name()})"
    if isinstance(fault, paramiko.AuthenticationException):
        return "the login was refused"
    return str(fault) or type(fault).__name__


def _connection(road: Road, timeout_s: float) -> socket.socket | paramiko.Channel:
    """The connection that SSH then runs over: TCP, or a channel through the relay."""
    if road.via is not None:
        return through(road.via).channel((road.address, road.port), timeout_s)
    connection = socket.create_connection((road.address, road.port), timeout=timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class RelayLogin:
    """One log-in at a relay, shared by all boxes behind it, in whatever threads (or greenlets) they are reached.

    Who comes while another one logs in waits for the outcome and shares it: a relay that is down costs one time-out,
    and not one a box. A log-in that has died is replaced by the next who needs it.
    """

    def __init__(self, road: Road) -> None:
        self._road = road
        self._lock = threading.Lock()
        self._client: ParamikoClient | None = None
        self._refusal: tuple[float, NoRoadError] | None = None

    def channel(self, target: tuple[str, int], timeout_s: float) -> paramiko.Channel:
        """Open a channel to ``target`` (as the relay sees it). Raises NoRoadError naming the relay and the reason."""
        transport = self._transport(timeout_s)
        try:
            return transport.open_channel("direct-tcpip", target, ("127.0.0.1", 0), timeout=timeout_s)
        except paramiko.ChannelException as fault:
            if fault.code == paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED:
                raise NoRoadError(
                    "the relay answers, but lets operators through to no box: converge the relay"
                ) from fault
            raise NoRoadError("the relay answers, the box's tunnel is not up") from fault
        except (OSError, EOFError, paramiko.SSHException) as fault:
            # The line to the relay is dead. Who still works over it finds out by himself; the next one logs in anew.
            self._forget(transport)
            raise NoRoadError(f"the relay {self._named} does not answer any more: {_reason(fault)}") from fault

    def close(self) -> None:
        """End the log-in, and with it every channel through it."""
        if self._client is not None:
            self._client.close()

    @property
    def _named(self) -> str:
        return f"{self._road.address}:{self._road.port}"

    def _transport(self, timeout_s: float) -> paramiko.Transport:
        asked = time.monotonic()
        with self._lock:
            transport = self._client.get_transport() if self._client else None
            if transport is not None and transport.is_active():
                return transport
            if self._refusal is not None and self._refusal[0] >= asked:
                raise self._refusal[1]
            try:
                self._client = login(self._road, timeout_s)
            except NoRoadError as fault:
                refusal = NoRoadError(f"the relay {self._named} cannot be reached: {fault}")
                self._refusal = (time.monotonic(), refusal)
                raise refusal from fault
            transport = self._client.get_transport()
            if transport is None:
                raise NoRoadError(f"the relay {self._named} closed the connection")
            return transport

    def _forget(self, transport: paramiko.Transport) -> None:
        with self._lock:
            if self._client is not None and self._client.get_transport() is transport:
                self._client = None


_relays: dict[Road, RelayLogin] = {}


def through(relay: Road) -> RelayLogin:
    """The log-in at a relay that this process shares; made when it is first used."""
    # dict.setdefault is atomic, also between threads.
    return _relays.setdefault(relay, RelayLogin(relay))


@atexit.register
def _close_relays() -> None:
    for relay in _relays.values():
        with contextlib.suppress(Exception):
            relay.close()


def first_open(name: str, roads: Sequence[Road], timeout_s: float) -> tuple[Line, Road]:
    """Log in over the first road that lets us in. Raises NoRoadError naming every road and its reason.

    When every road was refused, it is a RefusedError.
    """
    if not roads:
        raise NoRoadError(
            f"no road to {name} is known; add it under hosts: in the inventory's local.yaml, or collect it: "
            "hearth collect"
        )
    faults: list[tuple[Road, NoRoadError]] = []
    for road in roads:
        try:
            return login(road, timeout_s), road
        except NoRoadError as fault:
            faults.append((road, fault))
    reasons = "; ".join(f"{_described(road)}: {fault}" for road, fault in faults)
    refused = all(isinstance(fault, RefusedError) for _, fault in faults)
    raise RefusedError(reasons) if refused else NoRoadError(reasons)


def _described(road: Road) -> str:
    return f"{road.user}@{road.address}:{road.port}{f' through {road.via.address}' if road.via else ''}"

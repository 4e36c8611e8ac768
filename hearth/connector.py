"""pyinfra's way to a host of the fleet: the connector ``@hearth/NAME``, which names the host plainly ``NAME``.

What it adds to pyinfra's own SSH connector:

- a host has *roads* (``hearth.inventory.model.Road``), tried in order: the operator's own, then the first day's. So
  the same command converges a bare host and a converged one;
- host keys are pinned by the inventory; the operator's known_hosts is neither read nor written;
- whoever is not root uses sudo for every command, so that no role has to think of it;
- TCP_NODELAY, which paramiko leaves unset (facts: 49 ms instead of 4 ms a command on loopback);
- ``connect_anew`` logs in a second time, for ``hearth.guard``.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import IOBase
from pathlib import Path
from typing import Any

import paramiko
from paramiko.client import SSHClient as ParamikoClient
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.ssh_util import load_key_with_certificate
from pyinfra.connectors.sshuserclient.client import SSHClient
from pyinfra.connectors.util import CommandOutput
from typing_extensions import Unpack, override

from hearth.inventory.model import Road

KEEPALIVE_S = 15


class NoRoadError(ConnectError):
    """No road leads to the host; the message names each that was tried, and why it failed."""


class RefusedError(NoRoadError):
    """The host answered and does not let this account in; asking again will not change its mind."""


@dataclass(frozen=True)
class Session:
    """A connection of its own, beside pyinfra's."""

    client: ParamikoClient
    user: str

    def run(self, command: str) -> tuple[int, str]:
        """Run a shell command as root; return its exit status and its output, stderr included.

        Raises ConnectError when the connection ends or stays silent before the command has.
        """
        wrapped = command if self.user == "root" else f"sudo -n sh -c {shlex.quote(command)}"
        try:
            _, stdout, stderr = self.client.exec_command(wrapped, timeout=30)
            text = (stdout.read() + stderr.read()).decode(errors="replace").strip()
        except (OSError, EOFError, paramiko.SSHException) as fault:
            raise ConnectError(f"the command got no answer ({fault})") from fault
        status = stdout.channel.recv_exit_status()
        if status < 0:
            raise ConnectError("the connection ended before the command did")
        return status, text


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


def login(road: Road, timeout_s: float) -> SSHClient:
    """Log in over one road. Raises NoRoadError (RefusedError when sshd refused) with the reason in words."""
    client = SSHClient()
    pin(client, road)
    key = None
    try:
        key = load_key_with_certificate(str(road.identity), allow_prompt=False) if road.identity else None
        connection = socket.create_connection((road.address, road.port), timeout=timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
    except paramiko.BadHostKeyException as fault:
        client.close()
        raise NoRoadError(f"it shows another host key than the pinned one ({fault.key.get_name()})") from fault
    except paramiko.AuthenticationException as fault:
        client.close()
        raise RefusedError("the login was refused") from fault
    except (OSError, EOFError, paramiko.SSHException, PyinfraError) as fault:
        client.close()
        raise NoRoadError(str(fault) or type(fault).__name__) from fault
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(KEEPALIVE_S)
    return client


def first_open(name: str, roads: Sequence[Road], timeout_s: float) -> tuple[SSHClient, Road]:
    """Log in over the first road that lets us in. Raises NoRoadError naming every road and its reason.

    When every road was refused, it is a RefusedError.
    """
    if not roads:
        raise NoRoadError(f"no road to {name} is known; add it under hosts: in the inventory's local.yaml")
    faults = []
    for road in roads:
        try:
            return login(road, timeout_s), road
        except NoRoadError as fault:
            faults.append((road, fault))
    reasons = "; ".join(f"{road.user}@{road.address}:{road.port}: {fault}" for road, fault in faults)
    refused = all(isinstance(fault, RefusedError) for _, fault in faults)
    raise RefusedError(reasons) if refused else NoRoadError(reasons)


class HearthConnector(SSHConnector):
    """The ``hearth`` connector; see the module."""

    handles_execution = True
    user: str = "root"
    road: Road | None = None
    """The road that pyinfra's connection took, once it is connected."""

    @override
    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield name, {}, []

    @property
    def roads(self) -> tuple[Road, ...]:
        """The host's roads, with what the command line overrides (``--user``, ``--port``, ``--key``)."""
        roads: tuple[Road, ...] = self.host.data.get("roads") or ()
        overrides: dict[str, Any] = {
            "address": self.data["ssh_hostname"],
            "port": self.data["ssh_port"],
            "user": self.data["ssh_user"],
            "identity": Path(self.data["ssh_key"]) if self.data["ssh_key"] else None,
        }
        given = {key: value for key, value in overrides.items() if value}
        return tuple(replace(road, **given) for road in roads)

    @override
    def _connect(self) -> None:
        self.client, self.road = first_open(self.host.name, self.roads, self.state.config.CONNECT_TIMEOUT)
        self.user = self.road.user

    @contextmanager
    def connect_anew(self, *, as_before: bool = False) -> Iterator[Session]:
        """Open a new connection over the operator's road, or the one taken before. Raises NoRoadError."""
        roads = (self.road,) if as_before and self.road else self.roads[:1]
        client, road = first_open(self.host.name, roads, self.state.config.CONNECT_TIMEOUT)
        try:
            yield Session(client, road.user)
        finally:
            client.close()

    @override
    def disconnect(self) -> None:
        super().disconnect()
        if self.client is not None:
            self.client.close()

    def _as_root(self, arguments: ConnectorArguments) -> ConnectorArguments:
        """Add sudo where the login is not root's and the command does not ask for another user."""
        if self.user != "root" and not arguments.get("_su_user"):
            arguments["_sudo"] = True
        return arguments

    @override
    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> tuple[bool, CommandOutput]:
        return super().run_shell_command(command, print_output, print_input, **self._as_root(arguments))

    @override
    def put_file(
        self,
        filename_or_io: str | IOBase,
        remote_filename: str,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> bool:
        return super().put_file(
            filename_or_io,
            remote_filename,
            remote_temp_filename,
            print_output,
            print_input,
            **self._as_root(arguments),
        )

    @override
    def get_file(
        self,
        remote_filename: str,
        filename_or_io: str | IOBase,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> bool:
        return super().get_file(
            remote_filename,
            filename_or_io,
            remote_temp_filename,
            print_output,
            print_input,
            **self._as_root(arguments),
        )

"""pyinfra's way to a host of the fleet: the connector ``@hearth/NAME``, which names the host plainly ``NAME``.

What it adds to pyinfra's own SSH connector:

- a host has *roads* (``hearth.inventory.hosts.Road``), tried in order: through its relay, straight, then the first
  day's. So the same command converges a bare host and a converged one;
- host keys are pinned by the inventory; the operator's known_hosts is neither read nor written (``hearth.login``);
- whoever is not root uses sudo for every command, so that no role has to think of it;
- what its operations ask is asked in one command and answered from memory, until something is written
  (``hearth.asking``);
- TCP_NODELAY, which paramiko leaves unset (facts: 49 ms instead of 4 ms a command on loopback), and one round trip a
  command instead of three (``hearth.line``);
- a fleet's run holds the host's own lock for as long as it is connected, and each command beyond that, until it has
  ended (``hearth.hostlock``);
- a host that is done with can be left early (``leave``), and is reached again if somebody does need it;
- ``connect_anew`` logs in a second time, for ``hearth.guard``, and ``reconnect`` replaces a connection that a change
  has cut.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import IOBase
from pathlib import Path
from typing import Any

import click
from paramiko import Channel, SSHException
from paramiko.client import SSHClient as ParamikoClient
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput
from typing_extensions import Unpack, override

from hearth.asking import batch
from hearth.asking.answers import Answers, question_of
from hearth.hostlock import hold, under_lock
from hearth.inventory.hosts import Road
from hearth.login import NoRoadError, RefusedError, first_open

__all__ = ["HearthConnector", "NoRoadError", "RefusedError", "Session", "first_open"]


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
        except (OSError, EOFError, SSHException) as fault:
            raise ConnectError(f"the command got no answer ({fault})") from fault
        status = stdout.channel.recv_exit_status()
        if status < 0:
            raise ConnectError("the connection ended before the command did")
        return status, text


class HearthConnector(SSHConnector):
    """The ``hearth`` connector; see the module."""

    handles_execution = True
    user: str = "root"
    road: Road | None = None
    """The road that pyinfra's connection took, once it is connected."""

    @override
    def __init__(self, state: State, host: Host) -> None:
        super().__init__(state, host)
        self.answers = Answers()
        self._left = False
        self._lock: Channel | None = None

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
        return tuple(_overridden(road, given) for road in roads)

    @override
    def _connect(self) -> None:
        self.client, self.road = first_open(self.host.name, self.roads, self.state.config.CONNECT_TIMEOUT)
        self.user = self.road.user
        # Kept, since the host's lock lasts as long as this channel.
        try:
            self._lock = hold(self.client, self.user)
        except ConnectError:
            self.client.close()
            raise
        self.client.open_ahead()

    @property
    def is_cut(self) -> bool:
        """Whether the connection has died."""
        transport = self.client.get_transport() if self.client else None
        return transport is None or not transport.is_active()

    def reconnect(self) -> None:
        """Replace a connection that has died, over any road. Raises NoRoadError."""
        self.disconnect()
        self._connect()

    @contextmanager
    def connect_anew(self, *, as_before: bool = False) -> Iterator[Session]:
        """Open a new connection over one of the operator's roads, or the one taken before. Raises NoRoadError.

        Any of the operator's will do, since the one through the relay cannot work before the relay knows the box; the
        first day's will not, since it ends.
        """
        self.answers.forget()
        lasting = tuple(road for road in self.roads if not road.first_day)
        roads = (self.road,) if as_before and self.road else lasting
        client, road = first_open(self.host.name, roads, self.state.config.CONNECT_TIMEOUT)
        try:
            yield Session(client, road.user)
        finally:
            client.close()

    @override
    def disconnect(self) -> None:
        super().disconnect()
        self.answers.forget()
        if self.client is not None:
            self.client.close()

    def leave(self) -> None:
        """Close the connection of a host that is done with; whoever needs it all the same logs in anew."""
        self.disconnect()
        self._left = True

    def _come_back(self) -> None:
        if self._left:
            self._connect()
            self._left = False

    def _as_root(self, arguments: ConnectorArguments) -> ConnectorArguments:
        """Add sudo where the login is not root's and the command does not ask for another user."""
        if self.user != "root" and not arguments.get("_su_user"):
            arguments["_sudo"] = True
        return arguments

    def _locked(self, command: StringCommand) -> StringCommand:
        """A command of root's as the host's lock wants it, when this run holds the lock."""
        return command if self._lock is None else under_lock(command)

    def gather(self, questions: Iterable[str]) -> None:
        """Ask all of these questions in one command, to have their answers by heart."""
        self.answers.gather(questions, self._ask)

    def _ask(self, script: bytes) -> bytes:
        """Run a batch as root; raises ConnectError when it fails, or when anything is printed beside the answers."""
        self._come_back()
        locked = self._locked(StringCommand(batch.COMMAND)).get_raw_value()
        command = locked if self.user == "root" else f"sudo -H -n {locked}"
        if self.client is None:
            raise ConnectError("there is no connection")
        try:
            stdin, stdout, stderr = self.client.exec_command(command, timeout=batch.ANSWER_S)
            stdin.write(script)
            stdin.channel.shutdown_write()
            answers, noise = stdout.read(), stderr.read()
            status = stdout.channel.recv_exit_status()
        except (OSError, EOFError, SSHException) as fault:
            raise ConnectError(f"the batch got no answer ({fault})") from fault
        if status != 0 or noise:
            raise ConnectError("the batch failed")
        return answers

    @override
    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> tuple[bool, CommandOutput]:
        arguments = self._as_root(arguments)
        question = question_of(command, arguments, sudo=self.user != "root")
        if self.host.connector_data.get("prompted_sudo_password"):
            question = None
        answer = self.answers.to(question, self._ask)
        if answer is not None:
            # What was answered is never printed: neither here nor in the batch, whatever -vvv says.
            if print_input:
                click.echo(f"{self.host.print_prefix}>>> (in one batch) {command}", err=True)
            return True, answer
        self._come_back()
        # The lock is root's.
        if not (arguments.get("_su_user") or arguments.get("_sudo_user")):
            command = self._locked(command)
        return super().run_shell_command(command, print_output, print_input, **arguments)

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
        self.answers.forget()
        self._come_back()
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
        self.answers.forget()
        self._come_back()
        return super().get_file(
            remote_filename,
            filename_or_io,
            remote_temp_filename,
            print_output,
            print_input,
            **self._as_root(arguments),
        )


def _overridden(road: Road, given: dict[str, Any]) -> Road:
    """The road with what the command line says instead; of the relay before a box, only who logs in, and with what."""
    if road.via is None:
        return replace(road, **given)
    person = {key: value for key, value in given.items() if key in ("user", "identity")}
    return replace(road, **person, via=replace(road.via, **person))

"""Commands over one connection, against a real SSH server that tells in which order it was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import paramiko
import pytest

from hearth.line import Line

PATIENCE_S = 20


@dataclass
class Teller(paramiko.ServerInterface):
    """Says back what a command is sent, unless ``refuses``; ``second`` is set when a second channel was opened."""

    refuses: bool = False
    opened: int = 0
    second: threading.Event = field(default_factory=threading.Event)

    def check_auth_none(self, username: str) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "none"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        self.opened += 1
        if self.opened == 2:
            self.second.set()
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if not self.refuses:
            threading.Thread(target=self._answer, args=(channel, command), daemon=True).start()
        return not self.refuses

    def _answer(self, channel: paramiko.Channel, command: bytes) -> None:
        if command == b"wait for the next channel":
            self.second.wait(PATIENCE_S)
        said = b""
        while part := channel.recv(100):
            said += part
        channel.sendall(said)
        channel.send_exit_status(0 if self.second.is_set() else 1)
        channel.close()


@dataclass
class Ends:
    """Both ends of a connection."""

    line: Line
    teller: Teller

    def said(self, command: str, text: bytes) -> tuple[bytes, int]:
        """What a command prints that is sent ``text``, and its exit status."""
        stdin, stdout, _ = self.line.exec_command(command)
        stdin.write(text)
        stdin.channel.shutdown_write()
        return stdout.read(), stdout.channel.recv_exit_status()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far = paramiko.Transport(listener.accept()[0])
    far.add_server_key(paramiko.RSAKey.generate(2048))
    teller, line = Teller(), Line()
    far.start_server(event=threading.Event(), server=teller)
    transport = paramiko.Transport(near)
    transport.connect()
    transport.auth_none("root")
    line._transport = transport  # type: ignore[attr-defined]
    yield Ends(line, teller)
    line.close()
    far.close()


def test_the_next_commands_channel_is_opened_while_one_runs(ends: Ends) -> None:
    ends.line.open_ahead()

    assert ends.said("wait for the next channel", b"one") == (b"one", 0)
    assert ends.said("another", b"two") == (b"two", 0)


def test_nothing_is_opened_ahead_of_who_wants_one_command(ends: Ends) -> None:
    assert ends.said("only", b"one") == (b"one", 1)
    assert ends.teller.opened == 1


def test_a_request_is_not_waited_for_and_a_refused_one_ends_as_a_cut_line_does(ends: Ends) -> None:
    ends.teller.refuses = True

    _, stdout, _ = ends.line.exec_command("anything")

    assert (stdout.read(), stdout.channel.recv_exit_status()) == (b"", -1)


def test_a_channel_that_died_meanwhile_is_replaced(ends: Ends) -> None:
    ends.line.open_ahead()
    assert ends.line._next is not None
    opened = ends.line._next.result(PATIENCE_S)
    assert opened is not None
    opened.close()

    assert ends.said("any", b"one")[0] == b"one"

"""The lock on the host itself, with the command that hosts run: one at a time, free as soon as the holder is gone."""

from __future__ import annotations

import gc
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest

from hearth import hostlock

Take = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Take]:
    """Runs the host's command with a token, as sshd would."""
    monkeypatch.setattr(hostlock, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(hostlock, "WAIT_S", 0)
    processes = []

    def taken(token: str) -> subprocess.Popen[str]:
        command = ["sh", "-c", hostlock.lock_command(token)]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield taken
    for process in processes:
        process.communicate()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_host_has_one_converge_at_a_time(take: Take) -> None:
    assert answer(take("one")) == "held\n"
    other = take("two")
    assert answer(other) == ""
    assert other.wait() != 0


def test_who_was_cut_off_is_let_in_again_while_his_old_connection_still_holds_the_lock(take: Take) -> None:
    cut_off = take("one")
    assert answer(cut_off) == "held\n"
    assert answer(take("one")) == "held\n"
    assert answer(take("two")) == ""
    cut_off.communicate()


def test_a_connection_that_ends_frees_the_host(take: Take) -> None:
    first = take("one")
    assert answer(first) == "held\n"
    first.communicate()
    assert answer(take("two")) == "held\n"


def test_a_command_that_nobody_asked_to_lock_takes_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(hostlock.VARIABLE, raising=False)
    assert hostlock.hold(object(), "root") is None  # type: ignore[arg-type]


class ShellServer(paramiko.ServerInterface):
    """An SSH server that runs commands as this user, as sshd would."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []

    def check_auth_none(self, username: str) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "none"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        process = subprocess.Popen(["sh", "-c", command.decode()], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.running.append(process)
        threading.Thread(target=self._out, args=(channel, process), daemon=True).start()
        threading.Thread(target=self._into, args=(channel, process), daemon=True).start()
        return True

    @staticmethod
    def _out(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            channel.sendall(line)
        process.stdout.close()
        channel.close()

    @staticmethod
    def _into(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
        while channel.recv(100):
            pass
        assert process.stdin is not None
        process.stdin.close()


def test_the_lock_lasts_as_long_as_the_connection_and_no_longer(
    take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hostlock.VARIABLE, "mine")
    listener = socket.create_server(("127.0.0.1", 0))
    line = socket.create_connection(listener.getsockname())
    transport = paramiko.Transport(listener.accept()[0])
    transport.add_server_key(paramiko.RSAKey.generate(2048))
    server = ShellServer()
    transport.start_server(event=threading.Event(), server=server)
    client = paramiko.SSHClient()
    client._transport = paramiko.Transport(line)  # type: ignore[attr-defined]
    client._transport.connect()  # type: ignore[attr-defined]
    client._transport.auth_none("root")  # type: ignore[attr-defined]
    channel = hostlock.hold(client, "root")
    assert channel is not None
    gc.collect()
    other = take("other")
    assert answer(other) == "", "held, although nobody keeps the command's standard input"
    client.close()
    server.running[0].wait(timeout=10)
    assert answer(take("other")) == "held\n"
    transport.close()
    listener.close()

"""The lock on the host itself, with the command that hosts run: one at a time, free as soon as the holder is gone."""

from __future__ import annotations

import gc
import os
import shlex
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from pyinfra.api.command import MaskString, QuoteString, StringCommand

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


def told(token: str, command: str, monkeypatch: pytest.MonkeyPatch) -> subprocess.Popen[str]:
    """A command that the operator with this token sends, as the host runs it."""
    monkeypatch.setenv(hostlock.VARIABLE, token)
    line = hostlock.under_lock(StringCommand(command)).get_raw_value()
    return subprocess.Popen(["sh", "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_host_is_free_only_when_the_last_command_of_a_killed_operator_has_ended(
    take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = take("one")
    assert answer(killed) == "held\n"
    last = told("one", "echo begun; read line; exit 7", monkeypatch)
    assert answer(last) == "begun\n"
    killed.communicate()
    assert answer(take("two")) == "working\n"
    last.communicate()
    assert last.returncode == 7, "a command's status is its own"
    assert answer(take("two")) == "held\n"


def test_commands_of_one_operator_do_not_wait_for_each_other_nor_he_for_them_when_he_comes_back(
    take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off = take("one")
    assert answer(cut_off) == "held\n"
    first, second = (told("one", "echo begun; read line", monkeypatch) for _ in range(2))
    assert [answer(first), answer(second)] == ["begun\n", "begun\n"]
    assert answer(take("one")) == "held\n"
    for process in (first, second, cut_off):
        process.communicate()


def test_a_command_that_comes_too_late_does_not_begin(
    take: Take, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed = take("one")
    assert answer(killed) == "held\n"
    killed.communicate()
    assert answer(take("two")) == "held\n"
    late = told("one", f"touch {tmp_path}/done", monkeypatch)
    late.communicate()
    assert (late.returncode, (tmp_path / "done").exists()) == (1, False)


def test_what_a_command_leaves_running_does_not_keep_the_host(take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = take("one")
    assert answer(holder) == "held\n"
    command = told("one", "sleep 60 >/dev/null 2>&1 & echo $!", monkeypatch)
    left, _ = command.communicate()
    holder.communicate()
    try:
        assert answer(take("two")) == "held\n"
    finally:
        os.kill(int(left), signal.SIGKILL)


def test_a_secret_in_a_locked_command_stays_masked_and_its_quotes_stay_what_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(hostlock.VARIABLE, "mine")
    locked = hostlock.under_lock(StringCommand("echo", QuoteString("it's"), MaskString("hunter2")))
    assert "hunter2" not in str(locked)
    assert "hunter2" in locked.get_raw_value()
    assert shlex.split(shlex.split(locked.get_raw_value())[-1])[-3:] == ["echo", "it's", "hunter2"]


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

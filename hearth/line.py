"""A client of SSH whose commands cost one round trip each, and not three.

paramiko opens a channel and waits for it, asks for the command and waits for the word that it was begun, and then sends
its input. Here the channel of the next command is opened while nobody waits for it (``open_ahead``), and a command's
input follows the request at once. Should the host refuse a request, its channel is closed: whoever reads meets the end
and the exit status -1, as after a line that was cut.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from concurrent.futures import Future

import paramiko
from paramiko.channel import Channel, ChannelFile, ChannelStderrFile, ChannelStdinFile
from paramiko.common import cMSG_CHANNEL_REQUEST
from pyinfra.connectors.sshuserclient.client import SSHClient
from typing_extensions import override

OPENING_S = 20


class Line(SSHClient):
    """The client; see the module."""

    def __init__(self) -> None:
        super().__init__()
        self._is_ahead = False
        self._next: Future[Channel | None] | None = None

    def open_ahead(self) -> None:
        """From now on have the next command's channel open before it is asked for."""
        self._is_ahead = True
        self._next = self._opening()

    @override
    def exec_command(
        self,
        command: str,
        bufsize: int = -1,
        timeout: float | None = None,
        get_pty: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[ChannelStdinFile, ChannelFile, ChannelStderrFile]:
        if get_pty or environment:
            return super().exec_command(command, bufsize, timeout, get_pty, environment)
        channel = self._session(timeout)
        channel.settimeout(timeout)
        _request(channel, command)
        if self._is_ahead:
            self._next = self._opening()
        return (
            channel.makefile_stdin("wb", bufsize),
            channel.makefile("r", bufsize),
            channel.makefile_stderr("r", bufsize),
        )

    def _session(self, timeout: float | None) -> Channel:
        ahead, self._next = self._next, None
        channel = ahead.result() if ahead else None
        return self._opened(timeout) if channel is None or channel.closed else channel

    def _opened(self, timeout: float | None) -> Channel:
        transport = self.get_transport()
        if transport is None:
            raise paramiko.SSHException("the connection is closed")
        return transport.open_session(timeout=timeout)

    def _opening(self) -> Future[Channel | None]:
        """A channel that is being opened; None when that fails, since whoever needs one tries again and is told why."""
        opening: Future[Channel | None] = Future()

        def work() -> None:
            channel = None
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                channel = self._opened(OPENING_S)
            opening.set_result(channel)

        threading.Thread(target=work, daemon=True).start()
        return opening


def _request(channel: Channel, command: str) -> None:
    """``Channel.exec_command`` without the wait for its answer."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exec")
    message.add_boolean(True)
    message.add_string(command)
    channel.get_transport()._send_user_message(message)  # type: ignore[attr-defined]

"""A host's own lock: one converge at a time, whichever machines the others come from.

It is flock(1) on a file in /run, held by a command that lives as long as the SSH connection: a killed operator's
connection closes, its command ends, and the lock is free. Only fleet runs ask for it, by $HEARTH_HOST_LOCK.
"""

from __future__ import annotations

import os
import shlex

import paramiko
from paramiko.client import SSHClient as ParamikoClient
from pyinfra.api.exceptions import ConnectError

LOCK = "/run/hearth-converge.lock"
VARIABLE = "HEARTH_HOST_LOCK"
WAIT_S = 20
ANSWER_S = WAIT_S + 20


class HeldError(ConnectError):
    """Another converge is at work on the host."""


def lock_command(token: str) -> str:
    """The shell command, for root, that says ``held`` and keeps the lock until its standard input ends.

    ``token``: who locks. A connection that a change has cut may hold the lock for minutes until sshd notices; who
    comes back with the same token is let in, and has the lock from the moment the old connection is gone.
    """
    owner, mine = f"{LOCK}.owner", shlex.quote(token)
    keep = f"printf %s {mine} >{owner}; echo held; exec cat >/dev/null"
    return (
        f'if test "$(cat {owner} 2>/dev/null)" = {mine}; then echo held; exec flock --no-fork {LOCK} cat; fi; '
        f"exec flock --timeout {WAIT_S} --no-fork {LOCK} sh -c {shlex.quote(keep)}"
    )


def hold(client: ParamikoClient, user: str) -> paramiko.Channel | None:
    """Lock the host behind ``client`` when this process is told to; the lock lasts as long as the returned channel.

    ``user``: who is logged in. Raises HeldError when another converge has the host, or when it does not answer.
    """
    token = os.environ.get(VARIABLE)
    if not token:
        return None
    command = f"sh -c {shlex.quote(lock_command(token))}"
    try:
        channel = _session(client)
        # Not the client's exec_command, whose standard input ends as soon as nobody keeps the object for it.
        channel.exec_command(command if user == "root" else f"sudo -n {command}")
        answer = _line(channel)
    except (OSError, EOFError, paramiko.SSHException) as fault:
        raise HeldError(f"the host does not answer to its lock ({fault or type(fault).__name__})") from fault
    if answer != "held":
        raise HeldError("another converge is at work on this host")
    return channel


def _session(client: ParamikoClient) -> paramiko.Channel:
    transport = client.get_transport()
    if transport is None:
        raise paramiko.SSHException("the connection is closed")
    channel = transport.open_session(timeout=ANSWER_S)
    channel.settimeout(ANSWER_S)
    return channel


def _line(channel: paramiko.Channel) -> str:
    """The first line that the command prints, or what it printed before it ended."""
    told = b""
    while not told.endswith(b"\n") and (part := channel.recv(1)):
        told += part
    return told.decode(errors="replace").strip()

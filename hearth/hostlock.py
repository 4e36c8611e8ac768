"""A host's own lock: one converge at a time, whichever machines the others come from.

It is flock(1) on a file in /run, held by a command that lives as long as the SSH connection: a killed operator's
connection closes, its command ends, and the lock is free. What he told the host last goes on, though: sshd ends no
command whose connection is gone. So each command runs under a shared lock on a second file, and whoever takes the host
waits until nobody has that one. Only fleet runs ask for it, by $HEARTH_HOST_LOCK.
"""

from __future__ import annotations

import os
import shlex

import paramiko
from paramiko.client import SSHClient as ParamikoClient
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import ConnectError

LOCK = "/run/hearth-converge.lock"
VARIABLE = "HEARTH_HOST_LOCK"
WAIT_S = 20
ANSWER_S = 2 * WAIT_S + 20
TAKEN = "another converge has taken this host"


class HeldError(ConnectError):
    """Another converge is at work on the host."""


def lock_command(token: str) -> str:
    """The shell command, for root, that says ``held`` and keeps the lock until its standard input ends.

    It says ``working`` instead when a command of an earlier connection does not end. ``token``: who locks. A connection
    that a change has cut may hold the lock for minutes until sshd notices; who comes back with the same token is let
    in, and has the lock from the moment the old connection is gone.
    """
    mine = shlex.quote(token)
    # The name is written first: a command of whoever was here before, which has not begun yet, then never does.
    keep = (
        f"printf %s {mine} >{_owner()}; flock --timeout {WAIT_S} {_commands()} true || {{ echo working; exit 1; }}; "
        "echo held; exec cat >/dev/null"
    )
    # For root's eyes: who can open a file can lock it.
    return (
        f'umask 077; if test "$(cat {_owner()} 2>/dev/null)" = {mine}; then echo held; '
        f"exec flock --no-fork {LOCK} cat; fi; "
        f"exec flock --timeout {WAIT_S} --no-fork {LOCK} sh -c {shlex.quote(keep)}"
    )


def under_lock(command: StringCommand) -> StringCommand:
    """A command of root's as a host runs it for whoever has locked it: nobody else gets the host before it has ended.

    It does not begin when another converge has taken the host meanwhile.
    """
    token = os.environ[VARIABLE]
    ours = f'test "$(cat {_owner()})" = {shlex.quote(token)} || {{ echo "{TAKEN}" >&2; exit 1; }};'
    # --close: what the command leaves running, a service for one, has no part in the lock.
    locked = ("flock", "--shared", "--close", _commands())
    return StringCommand(*locked, "sh", "-c", QuoteString(StringCommand(ours, command)))


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
    if answer == "working":
        raise HeldError("a command of an earlier converge, whose operator is gone, still runs on this host")
    if answer != "held":
        raise HeldError("another converge is at work on this host")
    return channel


def _owner() -> str:
    """The file that names who has the lock."""
    return f"{LOCK}.owner"


def _commands() -> str:
    """The file that is locked, shared, by each command."""
    return f"{LOCK}.commands"


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

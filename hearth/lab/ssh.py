"""Logging in to a host of the lab over the bench, as an operator would from the machine at hand."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from hearth.lab.local import FIRST_DAY_PORT, FIRST_DAY_USER
from hearth.lab.process import LabError

PROBE_TIMEOUT_S = 3


def command(
    folder: Path, host: str, address: str, ssh_port: int, operator: str, host_keys: Sequence[str], argv: Sequence[str]
) -> list[str]:
    """The ssh command for a host at ``address``: to its first day's port as root, else to ``ssh_port`` as operator.

    ``folder``: the lab's state folder, with its keys; the host must show one of ``host_keys``. Raises ``LabError``
    when neither port answers.
    """
    known = folder / "known_hosts" / host
    known.parent.mkdir(exist_ok=True)
    known.write_text("".join(f"{host} {key}\n" for key in host_keys))
    if _answers(address, FIRST_DAY_PORT):
        port, user, identity = FIRST_DAY_PORT, FIRST_DAY_USER, "bench"
    elif _answers(address, ssh_port):
        port, user, identity = ssh_port, operator, "operator"
    else:
        raise LabError(f"{host} answers at {address} neither on port {FIRST_DAY_PORT} nor on port {ssh_port}.")
    options = {
        "HostKeyAlias": host,
        "IdentitiesOnly": "yes",
        "IdentityFile": str(folder / "keys" / identity),
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known),
        "GlobalKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
    }
    flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", *flags, "-p", str(port), f"{user}@{address}", *argv]


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True

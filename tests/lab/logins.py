"""Logging in to a box in every way that somebody might try, for the tests of sshd and its guard."""

from __future__ import annotations

import itertools
import socket
import subprocess
from pathlib import Path

import yaml

from hearth.lab.keys import ensure_key_pair
from tests.lab.boxes import MUELLER, Operator

BEN = "ben"
SSH_PORT = 2222
BENCH_KEY = "keys/bench"

# sshd shuts an address out that was refused several times (PerSourcePenalties), so each log-in comes from its own.
_addresses = (f"127.0.{number // 250 + 1}.{number % 250 + 1}" for number in itertools.count())


def new_key(folder: Path, name: str) -> tuple[Path, str]:
    """Make a key pair in ``folder``; return the private half's path and the public half's line."""
    return folder / name, ensure_key_pair(folder / name, name)


def ssh(box: Operator, user: str, identity: Path, *command: str, options: tuple[str, ...] = ()) -> list[str]:
    """The command that runs ``command`` on the box as ``user``, from the box's own network."""
    known = identity.with_name(f"{identity.name}.known_hosts")
    known.write_text("box " + box.lab.exec(MUELLER, ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout)
    settings = {
        "HostKeyAlias": "box",
        "UserKnownHostsFile": str(known),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "IdentityFile": str(identity),
        "BatchMode": "yes",
        "BindAddress": next(_addresses),
    }
    flags = [flag for name, value in settings.items() for flag in ("-o", f"{name}={value}")]
    target = ["-p", str(SSH_PORT), f"{user}@127.0.0.1"]
    # The first value wins in ssh, so the options of the test stand before the usual ones.
    return ["ip", "netns", "exec", box.lab.netns(MUELLER), "ssh", "-F", "none", *options, *flags, *target, *command]


def log_in(
    box: Operator, user: str, identity: Path, *command: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Log in and run ``command``; status 255 and sshd's words on stderr when the log-in was refused."""
    return subprocess.run(
        ssh(box, user, identity, *command, options=options),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def answers(box: Operator, port: int = SSH_PORT) -> bool:
    """Whether an sshd greets on the box's port, over the operator's road."""
    try:
        with socket.create_connection((box.lab.address(MUELLER), port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def known_road(operator: Operator, user: str, port: int) -> None:
    """Write into the operator's local.yaml how the host is reached today: this account and port, his own key."""
    path = operator.inventory / "local.yaml"
    local = yaml.safe_load(path.read_text())
    local["hosts"][MUELLER] |= {"user": user, "port": port, "identity": local["operator"]["identity"]}
    path.write_text(yaml.safe_dump(local))

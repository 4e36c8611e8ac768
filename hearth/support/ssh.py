"""The commands of both sides, the Pi's pinned host keys, and where a person's own key is. Pure.

The three literal commands are those of the articles that this project began with; they need the host key in the
person's own known_hosts. Scripts use ``OPTIONS`` besides, and a known_hosts file of their own.
"""

from __future__ import annotations

from shlex import quote

from hearth import layout
from hearth.inventory.keys import fingerprint
from hearth.inventory.model import PersonKey, SupportPi
from hearth.support.cases import Case, ScreenCase

VNC_PORT = 5900
"""Where x11vnc, TightVNC and macOS' Screen Sharing listen."""

SOCKS_LISTEN = 10123
"""Where the helper's browser finds the SOCKS proxy, on the helper's own computer."""

OPTIONS = (
    # The line is noticed to be dead after 45 s, later than by the Pi (20 s): so its port is free again by then.
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "ConnectTimeout=20",
    # Without it ssh stays up with no port at the Pi.
    "ExitOnForwardFailure=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "IdentitiesOnly=yes",
)
"""What scripts tell ssh beside the literal command; ssh_config(5)."""


def known_hosts(pi: SupportPi, *ports: int) -> tuple[str, ...]:
    """The lines that trust the Pi's tunnel server at ``ports``, and nobody else, as known_hosts has them."""
    return tuple(
        f"{pi.address if port == 22 else f'[{pi.address}]:{port}'} {' '.join(key.split()[:2])}"
        for port in ports
        for key in pi.tunnel_host_keys
    )


def fingerprints(pi: SupportPi) -> tuple[str, ...]:
    """The Pi's host keys as ``ssh-keygen -l`` and plink's ``-hostkey`` have them: SHA256 and base64 without padding."""
    return tuple(fingerprint(key) for key in pi.tunnel_host_keys)


def screen_forward(port: int) -> str:
    """What ``-R`` asks for: the person's VNC server becomes the screen's port on the Pi's loopback."""
    return f"{port}:localhost:{VNC_PORT}"


def viewer_forward(port: int) -> str:
    """What ``-L`` asks for: the screen's port on the Pi's loopback becomes the same port at the helper's."""
    return f"{port}:localhost:{port}"


def screen_command(pi: SupportPi, port: int) -> str:
    """The literal command of the supported person."""
    return f"ssh -N -R {screen_forward(port)} -p {pi.tunnel_port} {_login(layout.SCREEN_USER, pi)}"


def viewer_command(pi: SupportPi, port: int) -> str:
    """The literal command of the helper."""
    return f"ssh -N -L {viewer_forward(port)} -p {pi.tunnel_port} {_login(layout.VIEWER_USER, pi)}"


def socks_command(pi: SupportPi) -> str:
    """The literal command for the pages of the Pi's routers."""
    return f"ssh -N -D {SOCKS_LISTEN} -p {pi.socks_port} {_login(layout.SOCKS_USER, pi)}"


def vnc_command() -> str:
    """What shows a Linux screen, to this computer alone.

    Without ``-rfbport`` x11vnc takes the next free port when 5900 is in use, and the tunnel would show something else
    (x11vnc(1): -rfbport, -localhost, -forever, -shared, -nopw).
    """
    return f"x11vnc -localhost -rfbport {VNC_PORT} -nopw -forever -shared"


def keys_of(case: Case) -> tuple[PersonKey, ...]:
    """The public keys of the person that the case is about."""
    return (case.seen.screen.key,) if isinstance(case, ScreenCase) else case.helper.keys


def usual_identity(case: Case) -> str:
    """Where ssh-keygen puts a private key of the type that the person has: the name of a file in ``~/.ssh``."""
    return "id_rsa" if keys_of(case)[0].key.startswith("ssh-rsa ") else "id_ed25519"


def _login(user: str, pi: SupportPi) -> str:
    return quote(f"{user}@{pi.address}")

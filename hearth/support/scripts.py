"""Scripts that are ready to send: they pin the Pi's host keys in a file beside them and keep the tunnel up. Pure.

A POSIX shell script for Linux and macOS (saved as ``.command``, macOS' Finder starts it by a double click), a batch
file for Windows: a ``.ps1`` is opened in an editor by a double click, a ``.cmd`` runs.
"""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote
from typing import Literal

from hearth import layout
from hearth.inventory.keys import fingerprint
from hearth.inventory.model import SupportPi
from hearth.render import template
from hearth.support import ssh
from hearth.support.cases import Case, ScreenCase
from hearth.support.quoting import batch_word, remark

Quote = Callable[[str], str]
Platform = Literal["linux", "windows", "macos"]

_SUFFIXES: dict[Platform, str] = {"linux": "sh", "windows": "cmd", "macos": "command"}


def file_name(case: Case, platform: Platform) -> str:
    """What the script is called when it is sent."""
    return f"{stem(case)}.{_SUFFIXES[platform]}"


def stem(case: Case) -> str:
    """What the files for a person are called, without their endings."""
    person = case.seen.screen.name if isinstance(case, ScreenCase) else case.helper.name
    return f"hearth-{'screen' if isinstance(case, ScreenCase) else 'help'}-{remark(person).replace('/', '-')}"


def script(case: Case, platform: Platform, identity: str | None = None) -> str:
    """The script of the person that the case is about. ``identity``: the file of the person's private key.

    Raises SupportError when a value cannot stand in it.
    """
    return _batch(case, identity) if platform == "windows" else _shell(case, platform, identity)


def about(case: Case) -> str:
    """One line that says what the script does."""
    if isinstance(case, ScreenCase):
        helpers = " and ".join(helper.name for helper in case.helpers) or "nobody"
        return remark(f"Shows the screen of {case.seen.name} to {helpers}")
    screens = " and ".join(seen.name for seen in case.screens)
    pages = f"the pages of the routers at {case.pi.name}" if case.socks else ""
    return remark(f"Lets {case.helper.name} see {' and '.join(filter(None, (screens, pages)))}")


def _shell(case: Case, platform: Platform, identity: str | None) -> str:
    usual = f'"$HOME"/.ssh/{ssh.usual_identity(case)}'
    return template(
        __file__,
        "screen.sh.j2" if isinstance(case, ScreenCase) else "helper.sh.j2",
        about=about(case),
        platform=platform,
        pi=quote(f"{case.pi.name} ({case.pi.address})"),
        identity=_shell_path(identity) if identity else usual,
        fingerprints=quote(" or ".join(fingerprint(key.key) for key in ssh.keys_of(case))),
        known=quote(_known_name(case.pi)),
        known_hosts=[quote(line) for line in _known_hosts(case)],
        options=[quote(option) for option in _options(case.pi)],
        **_forwards(case, quote),
    )


def _batch(case: Case, identity: str | None) -> str:
    usual = f"%USERPROFILE%\\.ssh\\{ssh.usual_identity(case)}"
    text = template(
        __file__,
        "screen.cmd.j2" if isinstance(case, ScreenCase) else "helper.cmd.j2",
        about=about(case),
        pi=batch_word(case.pi.name),
        identity="\\".join(batch_word(part) for part in identity.split("\\")) if identity else usual,
        fingerprints=" or ".join(fingerprint(key.key) for key in ssh.keys_of(case)),
        known=batch_word(_known_name(case.pi)),
        known_hosts=[" ".join(batch_word(word) for word in line.split()) for line in _known_hosts(case)],
        options=[batch_word(option) for option in _options(case.pi)],
        host_keys=[batch_word(each) for each in ssh.fingerprints(case.pi)],
        **_forwards(case, batch_word),
    )
    return text.replace("\n", "\r\n")


def _forwards(case: Case, word: Quote) -> dict[str, object]:
    """What the script asks for, each value as its language quotes it."""
    own = {
        "vnc_port": ssh.VNC_PORT,
        "port": case.pi.tunnel_port,
        "socks_port": case.pi.socks_port,
        "socks_listen": ssh.SOCKS_LISTEN,
        "socks_login": word(f"{layout.SOCKS_USER}@{case.pi.address}"),
        "socks": case.socks,
    }
    if isinstance(case, ScreenCase):
        return own | {
            "login": word(f"{layout.SCREEN_USER}@{case.pi.address}"),
            "forwards": [word(ssh.screen_forward(case.seen.screen.port))],
        }
    return own | {
        "login": word(f"{layout.VIEWER_USER}@{case.pi.address}"),
        "forwards": [word(ssh.viewer_forward(seen.screen.port)) for seen in case.screens],
        "screens": [(remark(seen.name), seen.screen.port) for seen in case.screens],
    }


def _known_name(pi: SupportPi) -> str:
    return f"hearth-{pi.name}.known_hosts"


def _known_hosts(case: Case) -> tuple[str, ...]:
    ports = (case.pi.tunnel_port,) if isinstance(case, ScreenCase) else (case.pi.tunnel_port, case.pi.socks_port)
    return ssh.known_hosts(case.pi, *ports)


def _options(pi: SupportPi) -> tuple[str, ...]:
    # By its bare name: the script is in its own folder, and no path has to be quoted for ssh. The machine's own
    # known_hosts has no say either.
    known = _known_name(pi)
    return (*ssh.OPTIONS, f"UserKnownHostsFile={known}", f"GlobalKnownHostsFile={known}")


def _shell_path(identity: str) -> str:
    return f'"$HOME"/{quote(identity[2:])}' if identity.startswith("~/") else quote(identity)

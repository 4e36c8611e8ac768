"""What is told to people: a text for a terminal or a letter, and one page of HTML for a phone. Pure.

Sources of what is not ours: x11vnc(1), plink(1); TightVNC's "Installing from MSI Packages" for its settings' names;
Remmina 1.4.39, whose files were tried on a Debian 13 host (``ssh_tunnel_auth`` 3 takes ssh-agent's keys and those that
ssh takes by itself; 1 takes ``ssh_tunnel_privatekey``, an absolute path; ``ssh_tunnel_loopback`` 1 would ask the Pi
for 127.0.0.1, which its PermitOpen does not name); Firefox's modules/libpref/init/StaticPrefList.yaml.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import jinja2

from hearth import layout
from hearth.inventory.model import RouterPage
from hearth.support import ssh
from hearth.support.cases import Case, HelperCase, ScreenCase, Seen
from hearth.support.quoting import ini_value
from hearth.support.scripts import Platform, about, file_name, script

_PLATFORMS: dict[Platform, str] = {"linux": "Linux", "windows": "Windows", "macos": "macOS"}


@dataclass(frozen=True)
class Part:
    """One thing to do, in words, and what to type or to put into a file; ``file``: what that file is called."""

    words: str
    text: str = ""
    file: str = ""

    @property
    def link(self) -> str:
        """The file as a link that needs no server."""
        return f"data:application/octet-stream;base64,{base64.b64encode(self.text.encode()).decode()}"


@dataclass(frozen=True)
class Section:
    """What one of the two sides does, in order."""

    title: str
    parts: tuple[Part, ...]


def text(case: Case, platform: Platform, identity: str | None = None) -> str:
    """The instruction for a terminal or a letter, without the script. Raises SupportError as ``script`` does."""
    lines = [f"{about(case)}, over {case.pi.name} ({case.pi.address})", *_ends(case)]
    for section in _sections(case, platform, identity):
        lines += ["", section.title.upper(), ""]
        for part in section.parts:
            if part.file == file_name(case, platform):
                continue
            lines.append(part.words)
            lines += [f"    {line}" for line in part.text.splitlines()]
    name = quote(_full_name(case))
    command = f"hearth support {name} --platform {platform} --format script > {file_name(case, platform)}"
    return "\n".join([*lines, "", "Or all of it as a script to send, which keeps the tunnel up:", f"    {command}", ""])


def page(case: Case, platform: Platform, identity: str | None = None) -> str:
    """The instruction as one page of HTML that loads nothing. Raises SupportError as ``script`` does."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    return environment.get_template("page.html.j2").render(
        title=about(case),
        pi=f"{case.pi.name} ({case.pi.address})",
        ends=_ends(case),
        sections=_sections(case, platform, identity),
    )


def remmina(case: Case, seen: Seen, identity: str | None = None) -> str:
    """A connection profile that opens the tunnel itself; Remmina asks ~/.ssh/known_hosts for the Pi's key."""
    address = f"[{case.pi.address}]" if ":" in case.pi.address else case.pi.address
    own_key = identity if identity and identity.startswith("/") else None
    settings = {
        "name": seen.screen.name,
        "group": seen.household,
        "protocol": "VNC",
        "server": f"localhost:{seen.screen.port}",
        "ssh_tunnel_enabled": 1,
        "ssh_tunnel_server": f"{address}:{case.pi.tunnel_port}",
        "ssh_tunnel_username": layout.VIEWER_USER,
        "ssh_tunnel_auth": 1 if own_key else 3,
        "ssh_tunnel_privatekey": own_key or "",
        "ssh_tunnel_loopback": 0,
        "ssh_tunnel_stricthostkeycheck": 1,
        "quality": 2,
        "viewmode": 1,
    }
    return "[remmina]\n" + "".join(f"{name}={ini_value(str(value))}\n" for name, value in settings.items())


def firefox() -> str:
    """The lines of a Firefox profile's user.js that send everything through the SOCKS proxy, names included.

    Firefox 128 and later ask ``socks5_remote_dns`` for SOCKS 5, earlier ones ``socks_remote_dns``.
    """
    preferences = {
        "network.proxy.type": "1",
        "network.proxy.socks": '"127.0.0.1"',
        "network.proxy.socks_port": str(ssh.SOCKS_LISTEN),
        "network.proxy.socks_version": "5",
        "network.proxy.socks_remote_dns": "true",
        "network.proxy.socks5_remote_dns": "true",
        "network.proxy.no_proxies_on": '""',
    }
    return "".join(f'user_pref("{name}", {value});\n' for name, value in preferences.items())


def _sections(case: Case, platform: Platform, identity: str | None) -> tuple[Section, ...]:
    ready = Part(
        "Ready to start: save this file into a folder of its own and start it.",
        script(case, platform, identity),
        file_name(case, platform),
    )
    if isinstance(case, HelperCase):
        return (*_helping(case, case.helper.name, platform, identity, ready), *_routers(case, case.helper.name))
    names = " and ".join(helper.name for helper in case.helpers)
    return (
        Section(f"For {case.seen.screen.name}, on {_PLATFORMS[platform]}", (*_showing(case, platform), ready)),
        *(_helping(case, names, "linux", None, None) if names else ()),
        *_routers(case, " and ".join(each.name for each in case.helpers if case.pi.name in each.socks)),
    )


def _trust(case: Case, port: int) -> Part:
    return Part(
        "Once: put this line into .ssh/known_hosts in the home folder, so that nobody can stand in between:",
        "\n".join(ssh.known_hosts(case.pi, port)),
    )


def _showing(case: ScreenCase, platform: Platform) -> tuple[Part, ...]:
    command = ssh.screen_command(case.pi, case.seen.screen.port)
    begin: dict[Platform, Part] = {
        "linux": Part("Show the screen to this computer alone, on X11 (Wayland has no such way):", ssh.vnc_command()),
        "windows": Part(
            "Start TightVNC Server as a program, with Access Control set to: accept only loopback connections. "
            "The script sets that itself."
        ),
        "macos": Part(
            "Switch Screen Sharing on: System Settings, General, Sharing. It asks the helper for an account of this "
            f"Mac, and listens on port {ssh.VNC_PORT} of every network: switch it off again afterwards."
        ),
    }
    return (
        _trust(case, case.pi.tunnel_port),
        begin[platform],
        Part("Then, beside it, for as long as the help lasts:", command),
    )


def _helping(
    case: Case, names: str, platform: Platform, identity: str | None, ready: Part | None
) -> tuple[Section, ...]:
    if not case.screens:
        return (Section(f"For {names}", (ready,)),) if ready else ()
    parts = [_trust(case, case.pi.tunnel_port)]
    for seen in case.screens:
        port = seen.screen.port
        parts.append(Part(f"For the screen of {seen.name}:", ssh.viewer_command(case.pi, port)))
        beside = f"and beside it a VNC program on localhost:{port}, such as:"
        parts.append(Part(beside, _viewer(platform, port)))
    if platform == "linux":
        parts += [
            Part(
                f"Or Remmina, which opens the tunnel itself; the connection {seen.name}, as a file to import:",
                remmina(case, seen, identity),
                f"hearth-{seen.household}-{seen.screen.name}.remmina",
            )
            for seen in case.screens
        ]
    return (Section(f"For {names}, on {_PLATFORMS[platform]}", (*parts, *((ready,) if ready else ()))),)


def _viewer(platform: Platform, port: int) -> str:
    programs: dict[Platform, str] = {
        "linux": f"vncviewer localhost::{port}",
        "windows": f'"%ProgramFiles%\\TightVNC\\tvnviewer.exe" localhost::{port}',
        "macos": f"open vnc://localhost:{port}",
    }
    return programs[platform]


def _routers(case: Case, names: str) -> tuple[Section, ...]:
    if not case.socks:
        return ()
    pages = "\n".join(_url(page) for page in case.pi.routers)
    parts = (
        _trust(case, case.pi.socks_port),
        Part("Over the cellular router, when the usual line is down:", ssh.socks_command(case.pi)),
        Part(
            "Firefox, in a profile of its own (firefox -P): put this into the profile's user.js:", firefox(), "user.js"
        ),
        Part("Then open:", pages),
    )
    return (Section(f"For {names}: the pages of the routers at {case.pi.name}", parts),)


def _url(page: RouterPage) -> str:
    host = page.name or (f"[{page.address}]" if ":" in page.address else page.address)
    scheme = "https" if page.port == 443 else "http"
    return f"{scheme}://{host}{'' if page.port in (80, 443) else f':{page.port}'}/"


def _ends(case: Case) -> tuple[str, ...]:
    """A sentence for each key that ends some day."""
    return tuple(f"The key ends after {key.until:%Y-%m-%d}." for key in ssh.keys_of(case) if key.until)


def _full_name(case: Case) -> str:
    return case.seen.name if isinstance(case, ScreenCase) else f"helpers/{case.helper.name}"

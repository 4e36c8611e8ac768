"""Remote help with real programs: x11vnc on oma's computer, ssh on both sides, a VNC client on the helper's.

What both sides run is what ``hearth support`` prints, literally, and the Pi is converged.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hearth import layout
from hearth.lab.lab import Lab
from tests.lab.boxes import REPOSITORY, Operator, wait_for

pytestmark = pytest.mark.lab

HEARTH = Path(sys.executable).with_name("hearth")
PI, OMA, HELPER = "pi1", "oma-pc", "helper-pc"
PI_NAME = "pi1.home.example"
SHOW = f"ssh -N -R 17934:localhost:5900 -p 9212 screen@{PI_NAME}"
VIEW = f"ssh -N -L 17934:localhost:17934 -p 9212 viewer@{PI_NAME}"
PACKAGES = {OMA: "x11vnc xvfb xloadimage", HELPER: "vncsnapshot libjpeg-turbo-progs"}
WIDTH, HEIGHT, BLOCK = 640, 480, 16

PREPARE = """\
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@" >/dev/null
test -e /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
"""
# TCP, as anybody's program would try it; prints what is open.
PROBE = """\
for place; do
  timeout 3 bash -c "exec 3<>/dev/tcp/${place%:*}/${place#*:}" 2>/dev/null && echo "$place" &
done
wait
"""


def picture(seed: int) -> bytes:
    """The pixels of a picture of coloured blocks, which JPEG keeps as they are."""
    across, down = WIDTH // BLOCK, HEIGHT // BLOCK
    colours = hashlib.shake_128(str(seed).encode()).digest(3 * across * down)
    blocks = [colours[3 * number :][:3] * BLOCK for number in range(across * down)]
    return b"".join(b"".join(blocks[across * row :][:across]) * BLOCK for row in range(down))


SHOWN, OTHER = picture(1), picture(2)


@dataclass(frozen=True)
class Scene:
    """Oma's computer, the helper's, the converged Pi between them, and the operator."""

    lab: Lab
    inventory: Path

    def hearth(self, *arguments: str) -> str:
        """What ``hearth support`` prints."""
        done = subprocess.run(
            [str(HEARTH), "support", *arguments, "--inventory", str(self.inventory)],
            cwd=REPOSITORY,
            env=os.environ | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, host: str, unit: str, command: str, *, kill_all: bool = True) -> None:
        """Run a command on a host until ``stop``. ``kill_all``: also what it has started, as a closed window does."""
        kill = "control-group" if kill_all else "process"
        self.lab.exec(
            host,
            [
                *("systemd-run", "--quiet", "--collect", f"--unit=support-{unit}", f"--property=KillMode={kill}"),
                *("--setenv=DISPLAY=:0", "--setenv=HOME=/root", "--working-directory=/root", "sh", "-c", command),
            ],
        )

    def stop(self, host: str, unit: str) -> None:
        self.lab.exec(host, ["systemctl", "stop", f"support-{unit}"], check=False)

    def show(self, pixels: bytes) -> None:
        """Have a program on oma's screen show a picture."""
        self.stop(OMA, "picture")
        ppm = f"P6\n{WIDTH} {HEIGHT}\n255\n".encode() + pixels
        self.lab.exec(OMA, ["sh", "-c", "base64 -d >/root/shown.ppm"], stdin=base64.b64encode(ppm).decode())
        self.start(OMA, "picture", "exec xloadimage -quiet -fullscreen /root/shown.ppm")

    def seen(self) -> bytes:
        """The pixels of the screenshot that the helper's VNC client takes; none when there is no screen to see."""
        take = (
            "rm -f /root/seen.jpg; timeout 60 vncsnapshot -quiet -quality 100 localhost::17934 /root/seen.jpg "
            ">/dev/null 2>&1; djpeg -pnm /root/seen.jpg 2>/dev/null | base64"
        )
        taken = base64.b64decode(self.lab.exec(HELPER, ["sh", "-c", take], check=False).stdout)
        return taken.partition(b"255\n")[2]

    def sees(self, pixels: bytes) -> bool:
        return self.seen() == pixels

    def sessions(self) -> list[dict[str, Any]]:
        """Who is connected, as ``hearth support --sessions`` tells programs."""
        found: list[dict[str, Any]] = json.loads(self.hearth("--sessions", PI, "--format", "json"))
        return found

    def connected(self) -> int:
        """How many tunnels the Pi has: what to wait for, faster than by the command."""
        return len(self.lab.exec(PI, [layout.TUNNEL_SESSIONS, "list"]).stdout.splitlines())

    def open_from(self, host: str, *places: str) -> set[str]:
        """Which of some ADDRESS:PORT answer a host."""
        return set(self.lab.exec(host, ["bash", "-c", PROBE, "bash", *places]).stdout.split())

    def open_at_home(self, host: str, *ports: int) -> set[int]:
        """Which ports of a home's host answer somebody in the same home, where its router stands."""
        places = [f"192.168.1.10:{port}" for port in ports]
        probe = ["ip", "netns", "exec", self.lab.names.router(host), "bash", "-c", PROBE, "bash", *places]
        found = subprocess.run(probe, capture_output=True, text=True, check=True).stdout.split()
        return {int(place.partition(":")[2]) for place in found}

    def processes(self, host: str, name: str) -> list[str]:
        return self.lab.exec(host, ["pgrep", "-x", name], check=False).stdout.split()

    def is_listening(self, host: str, port: int) -> bool:
        return bool(self.lab.exec(host, ["ss", "-Hltn", f"sport = :{port}"]).stdout)


def printed(text: str, begin: str) -> str:
    """The one line that ``hearth support`` prints to be typed, by how it begins."""
    found = {line.strip() for line in text.splitlines() if line.startswith(f"    {begin}")}
    assert len(found) == 1, text
    return found.pop()


def prepared(lab: Lab, host: str) -> str:
    """Install the programs of a client, make its owner's key, and return the public half."""
    lab.exec(host, ["sh", "-c", PREPARE, "sh", *PACKAGES[host].split()], timeout_s=600)
    return " ".join(lab.exec(host, ["cat", "/root/.ssh/id_ed25519.pub"]).stdout.split()[:2])


@pytest.fixture(scope="module")
def scene(
    lab: Lab,
    lab_inventory: Path,
    start: Callable[..., None],
    bare_pi: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """A Pi converged with the keys of oma and karl, oma's screen shown to herself alone, karl's computer."""
    start(OMA, HELPER)
    with ThreadPoolExecutor() as pool:
        keys = dict(zip((OMA, HELPER), pool.map(lambda host: prepared(lab, host), (OMA, HELPER)), strict=True))

    def known(fleet: dict[str, Any], household: dict[str, Any]) -> None:
        fleet["helpers"][0]["keys"] = [keys[HELPER]]
        household["support"]["screens"][0]["key"] = keys[OMA]

    operator = Operator(lab, lab_inventory).with_fleet(tmp_path_factory.mktemp("support") / "inventory", known)
    run = operator.converge(limit=PI, deploy="deploys/pi.py")
    assert run.status == 0, run.output[-4000:]
    collected = [str(HEARTH), "collect", PI, "--inventory", str(operator.inventory)]
    subprocess.run(collected, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    made = Scene(lab, operator.inventory)
    made.start(OMA, "screen", f"exec Xvfb :0 -screen 0 {WIDTH}x{HEIGHT}x24 -nolisten tcp")
    wait_for(lambda: lab.exec(OMA, ["test", "-S", "/tmp/.X11-unix/X0"], check=False).returncode == 0, 60, "Xvfb")
    made.show(SHOWN)
    yield made
    for host in (OMA, HELPER):
        lab.exec(host, ["systemctl", "stop", "support-*"], check=False)


@pytest.fixture
def quiet(scene: Scene) -> Iterator[Scene]:
    """The scene with nobody connected, before and after."""
    scene.show(SHOWN)
    assert scene.connected() == 0
    yield scene
    for host in (OMA, HELPER):
        for unit in ("vnc", "tunnel", "script"):
            scene.stop(host, unit)
    wait_for(lambda: scene.connected() == 0, 60, "the Pi to see both go")


def trust(scene: Scene, text: str) -> None:
    """Put the line that ``hearth support`` prints into both persons' known_hosts."""
    for host in (OMA, HELPER):
        scene.lab.exec(
            host, ["sh", "-c", "cat >/root/.ssh/known_hosts"], stdin=printed(text, f"[{PI_NAME}]:9212") + "\n"
        )


@pytest.mark.parametrize("first", [OMA, HELPER])
def test_the_helper_sees_what_the_screen_shows_whoever_comes_first(quiet: Scene, first: str) -> None:
    scene, text = quiet, quiet.hearth("oma")
    trust(scene, text)
    commands = {OMA: printed(text, "ssh -N -R"), HELPER: printed(text, "ssh -N -L")}
    assert commands == {OMA: SHOW, HELPER: VIEW}
    scene.start(OMA, "vnc", f"exec {printed(text, 'x11vnc')}")
    wait_for(lambda: scene.is_listening(OMA, 5900), 60, "x11vnc")
    for host in (first, OMA if first == HELPER else HELPER):
        assert scene.seen() == b"", "nothing is seen before both are there"
        scene.start(host, "tunnel", f"exec {commands[host]}")
        wait_for(lambda: scene.connected() == (1 if host == first else 2), 60, f"the tunnel of {host}")  # noqa: B023
    wait_for(lambda: scene.is_listening(HELPER, 17934), 30, "the helper's end")
    wait_for(lambda: scene.sees(SHOWN), 60, "the picture that is shown")
    assert not scene.sees(OTHER)
    scene.show(OTHER)
    wait_for(lambda: scene.sees(OTHER), 60, "the other picture")
    assert not scene.sees(SHOWN)


def test_neither_reaches_the_other_any_other_way(quiet: Scene) -> None:
    scene, text, lab = quiet, quiet.hearth("oma"), quiet.lab
    trust(scene, text)
    scene.start(OMA, "vnc", f"exec {printed(text, 'x11vnc')}")
    scene.start(OMA, "tunnel", f"exec {SHOW}")
    scene.start(HELPER, "tunnel", f"exec {VIEW}")
    wait_for(lambda: scene.sees(SHOWN), 60, "the picture that is shown")
    pi = lab.public_address(PI)
    for one, other in ((HELPER, OMA), (OMA, HELPER)):
        places = [f"{address}:{port}" for address in (lab.public_address(other), pi) for port in (22, 5900, 17934)]
        assert scene.open_from(one, *places, f"{pi}:9212") == {f"{pi}:9212"}, "tunnels, and nothing else"
    assert scene.open_at_home(OMA, 22, 5900) == {22}, "the screen is shown to oma's computer alone"
    assert scene.open_at_home(HELPER, 22, 17934) == {22}
    assert scene.open_at_home(PI, 9212, 17934) == {9212}


def test_who_is_connected_is_listed_with_name_time_and_address(quiet: Scene) -> None:
    scene, text = quiet, quiet.hearth("oma")
    trust(scene, text)
    scene.start(OMA, "tunnel", f"exec {SHOW}")
    wait_for(lambda: scene.connected() == 1, 60, "oma's tunnel")
    scene.start(HELPER, "tunnel", f"exec {VIEW}")
    wait_for(lambda: scene.connected() == 2, 60, "karl's tunnel")
    oma, karl = scene.sessions()
    address = scene.lab.public_address
    expected = {"pi": PI, "person": "mueller/oma", "kind": "screen", "from": address(OMA), "port": 17934}
    assert oma == expected | {"since": oma["since"]}
    # karl may see opa too, so his tunnel is about no one port.
    expected = {"pi": PI, "person": "karl", "kind": "viewer", "from": address(HELPER), "port": None}
    assert karl == expected | {"since": karl["since"]}
    assert oma["since"] <= karl["since"]
    table = scene.hearth("--sessions")
    for words in (("mueller/oma", "screen", address(OMA), "17934"), ("karl", "viewer", address(HELPER))):
        assert any(all(word in line.split() for word in words) for line in table.splitlines()), table
    scene.stop(OMA, "tunnel")
    scene.stop(HELPER, "tunnel")
    wait_for(lambda: scene.connected() == 0, 60, "both to be gone")
    assert scene.hearth("--sessions") == "nobody is connected\n"
    assert scene.sessions() == []


@pytest.fixture
def scripts(quiet: Scene) -> Scene:
    """The scripts of both sides, each in a folder of its own; neither side has a known_hosts."""
    for host, name in ((OMA, "oma"), (HELPER, "karl")):
        script = quiet.hearth(name, "--format", "script")
        put = "rm -rf /root/.ssh/known_hosts '/root/a folder'; mkdir '/root/a folder'; cat >'/root/a folder/help.sh'"
        quiet.lab.exec(host, ["sh", "-c", put], stdin=script)
    return quiet


def test_the_scripts_show_the_screen_come_back_and_leave_nothing_behind(scripts: Scene) -> None:
    scene = scripts
    scene.start(OMA, "script", "exec sh '/root/a folder/help.sh'", kill_all=False)
    scene.start(HELPER, "script", "exec sh 'a folder/help.sh'", kill_all=False)
    wait_for(lambda: scene.sees(SHOWN), 60, "the picture that is shown")
    for host in (OMA, HELPER):
        (ssh,) = scene.processes(host, "ssh")
        scene.lab.exec(host, ["kill", "-KILL", ssh])
        wait_for(lambda: scene.processes(host, "ssh") not in ([], [ssh]), 60, f"{host} to come back")  # noqa: B023
    wait_for(lambda: scene.sees(SHOWN), 60, "the picture, over new tunnels")
    for host in (OMA, HELPER):
        scene.stop(host, "script")
        wait_for(lambda: not scene.processes(host, "ssh"), 30, f"the tunnel of {host} to end")  # noqa: B023
    wait_for(lambda: not scene.processes(OMA, "x11vnc"), 30, "the screen to be hidden again")


def test_a_script_refuses_a_pi_that_shows_another_host_key(scripts: Scene) -> None:
    scene = scripts
    other = scene.lab.exec(OMA, ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.split()[1]
    script = scene.lab.exec(OMA, ["cat", "/root/a folder/help.sh"]).stdout
    changed, count = re.subn(r"(9212 ssh-ed25519) \S+'", rf"\1 {other}'", script)
    assert count == 1
    scene.lab.exec(OMA, ["sh", "-c", "cat >'/root/a folder/help.sh'"], stdin=changed)
    scene.start(OMA, "script", "exec sh '/root/a folder/help.sh' 2>/root/told")
    wait_for(lambda: "trying again" in scene.lab.exec(OMA, ["cat", "/root/told"], check=False).stdout, 60, "its words")
    assert "Host key verification failed" in scene.lab.exec(OMA, ["cat", "/root/told"]).stdout
    assert scene.connected() == 0


def test_the_helpers_script_opens_the_way_to_the_routers_pages(scripts: Scene) -> None:
    scripts.start(HELPER, "script", "exec sh '/root/a folder/help.sh' routers")
    wait_for(lambda: scripts.is_listening(HELPER, 10123), 60, "the SOCKS proxy")
    assert [(each["person"], each["kind"]) for each in scripts.sessions()] == [("karl", "socks")]


def test_a_script_without_the_key_or_without_x11vnc_says_so(scripts: Scene) -> None:
    start = "'/root/a folder/help.sh'"
    lost = scripts.lab.exec(OMA, ["sh", "-c", f"HEARTH_KEY=/root/nowhere sh {start}"], check=False)
    assert (lost.returncode, "There is no key in /root/nowhere" in lost.stderr) == (1, True)
    fingerprint = scripts.lab.exec(OMA, ["ssh-keygen", "-lf", "/root/.ssh/id_ed25519.pub"]).stdout.split()[1]
    assert fingerprint in lost.stderr
    hidden = scripts.lab.exec(OMA, ["sh", "-c", f"DISPLAY=:7 sh {start}"], check=False)
    assert (hidden.returncode, "x11vnc has ended" in hidden.stderr) == (1, True)
    assert scripts.processes(OMA, "ssh") == []

"""The main job, shown: a bare Debian host becomes a household's cloud, by the command that an operator types.

    make demo

It brings the lab up, converges the relay and ``box-mueller`` with the stock ``pyinfra`` command, and then does what the
household would: uploads a file at home and downloads it again from the internet, through the relay. The lab stays up.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from hearth import layout
from hearth.inventory import load_or_raise
from hearth.inventory.model import Household
from hearth.lab.lab import Lab
from hearth.lab.process import LabError
from hearth.lab.real_release import with_real_release

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLE = Path("inventory")
REAL = Path("build/inventory")
"""Where the example fleet is copied to when $HEARTH_OWNCLOUD_TARBALL names the real release."""
HOUSEHOLD = "mueller"
VISITOR = "visitor"
TRUSTED = "/root/trusted.pem"
TUNNEL_S = 60
CERTIFICATE_S = 180
FILE_BYTES = 200 << 20

console = Console(highlight=False)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    console.print(f"[bold]==> {what}[/bold]", soft_wrap=True)
    started = time.monotonic()
    yield
    console.print(f"    [dim]{time.monotonic() - started:.1f} s[/dim]")


def run(*command: str) -> None:
    """Run a command as a reader would type it, and show it; raises CalledProcessError when it fails."""
    console.print(f"    $ {' '.join(command)}", soft_wrap=True)
    program = Path(sys.executable).with_name(command[0])
    environment = os.environ | {"PYINFRA_PROGRESS": "off"}
    subprocess.run([str(program), *command[1:]], cwd=REPOSITORY, env=environment, check=True)


def password(lab: Lab, box: str, user: str) -> str:
    """The household's password, read where the household finds it: on the box, as root."""
    text = lab.exec(box, ["cat", "/root/household-passwords.txt"]).stdout
    return next(line.removeprefix(f"{user}: ") for line in text.splitlines() if line.startswith(f"{user}: "))


def request(lab: Lab, household: Household, path: str) -> tuple[str, str]:
    """What curl reads from standard input (arguments are for everybody to read): the first user and his password; and
    the address to ask."""
    user = household.owncloud.users[0].name
    config = f'user = "{user}:{password(lab, household.box, user)}"\n'
    return config, f"https://{household.domain}/remote.php/dav/files/{user}/{path}"


def trusted_roots(lab: Lab, inventory: Path, household: Household) -> str:
    """Whom a visitor trusts, PEM: the lab's ACME authority, or the fleet's own, as the household's issuer is."""
    return lab.acme_roots() if household.issuer == "acme" else (inventory / "authority/tls-ca.pem").read_text()


def prepare_visitor(lab: Lab, roots: str) -> None:
    """Give the visitor curl and whom to trust."""
    lab.exec(VISITOR, ["sh", "-c", "command -v curl >/dev/null || (apt-get -qq update && apt-get -qqy install curl)"])
    lab.exec(VISITOR, ["tee", TRUSTED], stdin=roots)


def is_open(lab: Lab, household: Household) -> bool:
    """Whether the visitor finds the household's name, with a certificate that he trusts."""
    status = ["curl", "--silent", "--max-time", "10", "--cacert", TRUSTED, f"https://{household.domain}/status.php"]
    return '"installed":true' in lab.exec(VISITOR, status, check=False).stdout


def wait_for(what: str, limit_s: int, is_so: Callable[[], bool], where_to_look: str) -> None:
    """Wait until ``is_so``; raises LabError when ``limit_s`` seconds do not suffice."""
    deadline = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > deadline:
            raise LabError(f"no {what} came within {limit_s} s; {where_to_look}")
        time.sleep(1)


def upload(lab: Lab, roots: str, household: Household, content: bytes) -> None:
    """Put a file into the cloud from the operator's bench; raises LabError unless it is taken."""
    config, url = request(lab, household, "holiday.bin")
    with tempfile.NamedTemporaryFile() as file, tempfile.NamedTemporaryFile("w") as trusted:
        file.write(content)
        file.flush()
        trusted.write(roots)
        trusted.flush()
        done = subprocess.run(
            [
                *("curl", "--config", "-", "--silent", "--show-error", "--output", "/dev/null"),
                *("--cacert", trusted.name, "--upload-file", file.name),
                *("--resolve", f"{household.domain}:443:{lab.address(household.box)}"),
                *("--write-out", "%{http_code}", url),
            ],
            input=config,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.stdout not in ("201", "204"):
        raise LabError(f"the cloud did not take the file: {done.stdout} {done.stderr.strip()}")


def download_elsewhere(lab: Lab, household: Household) -> str:
    """Get the file as somebody on the internet, through the relay; returns its SHA-256 in hex."""
    config, url = request(lab, household, "holiday.bin")
    fetch = f"curl --config - --silent --show-error --fail --retry 5 --retry-all-errors --cacert {TRUSTED} {url}"
    return lab.exec(VISITOR, ["sh", "-c", f"{fetch} | sha256sum"], stdin=config, timeout_s=300).stdout.split()[0]


def tunnel_is_up(lab: Lab, relay: str, household: Household) -> bool:
    """Whether the relay listens for the household."""
    listening = lab.exec(relay, ["ss", "-Hltn"]).stdout
    return f"{household.tunnel_address}:{layout.HTTPS_TUNNEL_PORT}" in listening


def join(lab: Lab, inventory: Path, relay: str, household: Household) -> None:
    """Converge relay and box, and tell each what the other is: relay, box, relay."""
    box = household.box
    run("pyinfra", f"{inventory}/", "deploys/relay.py", "--limit", relay, "-y")
    run("hearth", "collect", relay, "--inventory", str(inventory))
    run("pyinfra", f"{inventory}/", "deploys/box.py", "--limit", box, "-y")
    run("hearth", "collect", box, "--inventory", str(inventory))
    run("pyinfra", f"{inventory}/", "deploys/relay.py", "--limit", relay, "-y")
    see = f"see `journalctl -u hearth-tunnel` on {box}"
    wait_for("tunnel", TUNNEL_S, lambda: tunnel_is_up(lab, relay, household), see)


def main() -> int:
    """Show the main job; exit status 1 with one sentence when a step fails."""
    started = time.monotonic()
    os.chdir(REPOSITORY)
    lab = Lab()
    try:
        inventory = with_real_release(EXAMPLE, REAL, os.environ)
        household = next(one for one in load_or_raise(inventory).households if one.id == HOUSEHOLD)
        relay = household.relay
        if relay is None:
            raise LabError(f"{HOUSEHOLD} has no relay, and this is a demo of one")
        with step("Start bare Debian 13 hosts in the lab: a relay, a box at home, a visitor"):
            run("hearth", "lab", "up", relay, household.box, VISITOR, "--inventory", str(inventory))
        with step(f"Converge {relay} and {household.box}"):
            join(lab, inventory, relay, household)
        with step(f"Let the visitor open https://{household.domain}/, with a certificate that he trusts"):
            roots = trusted_roots(lab, inventory, household)
            prepare_visitor(lab, roots)
            see = f"see /var/log/apache2/error.log on {household.box}"
            wait_for("certificate", CERTIFICATE_S, lambda: is_open(lab, household), see)
        with step("Upload a file at home, download it on the internet through the relay"):
            content = secrets.token_bytes(FILE_BYTES)
            upload(lab, roots, household, content)
            there, back = hashlib.sha256(content).hexdigest(), download_elsewhere(lab, household)
            if there != back:
                raise LabError(f"the file did not come back as it went: {there} and {back}")
            console.print(f"    {FILE_BYTES >> 20} MiB, sha256 {there[:16]}… on both sides", soft_wrap=True)
    except (LabError, subprocess.CalledProcessError) as fault:
        console.print(f"[red]The demo failed: {fault}[/red]")
        return 1
    hearth = Path(sys.executable).with_name("hearth").relative_to(REPOSITORY)
    for line in (
        "",
        f"[bold green]https://{household.domain}/[/bold green] is up through {relay} "
        f"after {time.monotonic() - started:.0f} s.",
        f"Look around: {hearth} lab ssh {household.box}",
        f"Run the demo again and nothing changes; edit {inventory}/households/{HOUSEHOLD}.yaml and see what does.",
        f"End it: {hearth} lab down",
    ):
        console.print(line, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The main job, shown: a bare Debian host becomes a household's cloud, by the command that an operator types.

    make demo

It brings the lab up, converges ``box-mueller`` with the stock ``pyinfra`` command, and then does what the household
would: logs in over HTTPS, uploads a file and downloads it again. The lab stays up for a look around.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from hearth.inventory import load_or_raise
from hearth.inventory.model import Household
from hearth.lab.lab import Lab
from hearth.lab.process import LabError

REPOSITORY = Path(__file__).resolve().parents[1]
INVENTORY = Path("inventory")
HOUSEHOLD = "mueller"
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


def curl(lab: Lab, inventory: Path, household: Household, path: str, *arguments: str) -> str:
    """Ask the household's cloud as its first user; only the fleet's authority is trusted. Returns the status code."""
    user = household.owncloud.users[0].name
    done = subprocess.run(
        [
            *("curl", "--config", "-", "--silent", "--show-error"),
            *("--cacert", str(inventory / "authority/tls-ca.pem")),
            *("--resolve", f"{household.domain}:443:{lab.address(household.box)}"),
            *("--write-out", "%{http_code}", *arguments),
            f"https://{household.domain}{path}",
        ],
        # By standard input: arguments are for everybody to read.
        input=f'user = "{user}:{password(lab, household.box, user)}"\n',
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"the cloud does not answer: {done.stderr.strip()}")
    return done.stdout


def upload_and_download(lab: Lab, inventory: Path, household: Household) -> None:
    """Put a file into the first user's cloud and get it back; raises LabError when it is not the same."""
    user = household.owncloud.users[0].name
    path = f"/remote.php/dav/files/{user}/holiday.bin"
    with tempfile.TemporaryDirectory() as folder:
        there, back = Path(folder, "there"), Path(folder, "back")
        there.write_bytes(secrets.token_bytes(FILE_BYTES))
        put = curl(lab, inventory, household, path, "--upload-file", str(there), "--output", "/dev/null")
        got = curl(lab, inventory, household, path, "--output", str(back))
        sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (there, back)]
        if (put, got) not in (("201", "200"), ("204", "200")) or sums[0] != sums[1]:
            raise LabError(f"the file did not come back as it went: PUT {put}, GET {got}, sums {sums}")
        console.print(f"    {FILE_BYTES >> 20} MiB up and down as {user}, sha256 {sums[0][:16]}… both ways")


def main() -> int:
    """Show the main job; exit status 1 with one sentence when a step fails."""
    started = time.monotonic()
    os.chdir(REPOSITORY)
    household = next(one for one in load_or_raise(INVENTORY).households if one.id == HOUSEHOLD)
    lab = Lab()
    try:
        with step("Start a bare Debian 13 host in the lab"):
            run("hearth", "lab", "up", household.box)
        with step(f"Converge {household.box}"):
            run("pyinfra", f"{INVENTORY}/", "deploys/box.py", "--limit", household.box, "-y")
        with step("Use the cloud as the household does"):
            upload_and_download(lab, INVENTORY, household)
    except (LabError, subprocess.CalledProcessError) as fault:
        console.print(f"[red]The demo failed: {fault}[/red]")
        return 1
    hearth = Path(sys.executable).with_name("hearth").relative_to(REPOSITORY)
    for line in (
        "",
        f"[bold green]https://{household.domain}/[/bold green] is up at {lab.address(household.box)} "
        f"after {time.monotonic() - started:.0f} s.",
        f"Look around: {hearth} lab ssh {household.box}",
        f"Run the demo again and nothing changes; edit inventory/households/{HOUSEHOLD}.yaml and see what does.",
        f"End it: {hearth} lab down",
    ):
        console.print(line, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

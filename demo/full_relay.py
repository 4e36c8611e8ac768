"""A relay in the lab that is converged for thousands of households, as operators near and far find it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from hearth.lab.generate import inventory as generated
from hearth.lab.lab import Lab

REPOSITORY = Path(__file__).resolve().parents[1]
RELAY = "relay1"
PROXY_PORT = 42022


@dataclass(frozen=True)
class FullRelay:
    """The relay's fleet in ``inventory``, and where its operators' sshd is."""

    inventory: Path
    address: str
    port: int

    def command(self, *arguments: str) -> list[str]:
        """The operator's command on this relay alone."""
        pyinfra = str(Path(sys.executable).with_name("pyinfra"))
        return [pyinfra, f"{self.inventory}/", "deploys/relay.py", "--limit", RELAY, *arguments]

    def plan(self) -> list[str]:
        """What would be changed, with nothing touched."""
        return self.command("--dry")

    @contextmanager
    def far(self, milliseconds: int) -> Iterator[list[str]]:
        """The plan as one types it who is so far away, one way."""
        words = [f"127.0.0.1:{PROXY_PORT}", f"{self.address}:{self.port}", str(milliseconds)]
        with subprocess.Popen(
            [sys.executable, "-m", "demo.delay_proxy", *words], cwd=REPOSITORY, stdout=subprocess.PIPE
        ) as proxy:
            try:
                if proxy.stdout is None or proxy.stdout.readline() != b"ready\n":
                    raise OSError("the delaying proxy does not listen")
                yield [*self.plan(), "--data", "ssh_hostname=127.0.0.1", "--data", f"ssh_port={PROXY_PORT}"]
            finally:
                proxy.terminate()


@contextmanager
def full_relay(households: int) -> Iterator[FullRelay]:
    """Boot a relay and converge it for so many households; everything is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="hearth-relay-") as temporary:
        folder, lab = Path(temporary) / "inventory", Lab("bench-scale")
        # The example's operator and authority: the lab has their private halves.
        shutil.copytree(
            REPOSITORY / "inventory", folder, ignore=shutil.ignore_patterns("local.yaml", "authority", "collected")
        )
        try:
            lab.up([RELAY], folder)
            _populate(folder, households)
            relay = FullRelay(folder, lab.address(RELAY), _ssh_port(folder))
            run(relay.command("-y"))
            yield relay
        finally:
            lab.down()


def _populate(folder: Path, households: int) -> None:
    """Put generated households in the place of the example's, all on the one relay."""
    fleet = yaml.safe_load((folder / "fleet.yaml").read_text())
    for file in (folder / "households").iterdir():
        file.unlink()
    (folder / "collected").mkdir(exist_ok=True)
    for path, text in generated(households):
        if path.startswith("households/"):
            home = yaml.safe_load(text) | {"relay": RELAY}
            (folder / path).write_text(yaml.safe_dump(home, allow_unicode=True))
        elif path.startswith("collected/box-"):
            (folder / path).write_text(text)
    fleet.pop("canary", None)
    (folder / "fleet.yaml").write_text(yaml.safe_dump(fleet, allow_unicode=True, width=1000))


def _ssh_port(folder: Path) -> int:
    port: int = yaml.safe_load((folder / "fleet.yaml").read_text())["ssh_port"]
    return port


def run(command: Sequence[str]) -> None:
    """Run one of the operator's commands; raises CalledProcessError with the end of its output when it fails."""
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout[-4000:])

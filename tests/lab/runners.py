"""The machine of an operator that converges his fleet by itself, as docs/gitops.md makes one: hearth and its units.

It is a host on the lab's internet that knows the fleet's hosts by the repository alone. The repository lies beside it,
behind an sshd.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from hearth.fleet.records import Record, read
from hearth.lab.lab import Lab
from tests.lab.boxes import REPOSITORY, VISITOR
from tests.lab.signed import Signed

GITOPS, DRIFT = "hearth-gitops.service", "hearth-drift.service"
PACKAGES = "adduser git openssh-client python3-venv"
HEARTH, ETC, STATE = "/opt/hearth", "/etc/hearth", "/var/lib/hearth"
RUNS = f"{STATE}/example/runs"
BARE = "/srv/git/fleet.git"
FORGE = f"ssh://git@localhost{BARE}"


@dataclass(frozen=True)
class Runner:
    """The machine, and the operator who pushes to its repository."""

    signed: Signed
    host: str = VISITOR

    @property
    def lab(self) -> Lab:
        """The lab."""
        return self.signed.fleet.lab

    def sh(self, script: str, *, stdin: str | None = None, timeout_s: float = 120) -> str:
        """Run a shell script as root on the machine; returns what it printed."""
        return self.lab.exec(self.host, ["sh", "-euc", script], stdin=stdin, timeout_s=timeout_s).stdout

    def put(self, source: Path, target: str, *arguments: str) -> None:
        """Copy what tar takes of a folder, by ``arguments``, into a folder of the machine."""
        into = self.lab.exec_command(self.host, ["tar", "--extract", "--no-same-owner", "--directory", target])
        packed = subprocess.run(
            ["tar", "--create", "--directory", str(source), *arguments], check=True, capture_output=True
        ).stdout
        subprocess.run(into, input=packed, check=True)

    def push(self, *arguments: str, signer: str | None = "anna") -> str:
        """Commit, or do what git is told instead, and push to the forge, over SSH; returns the commit."""
        commit = self.signed.push(*arguments, signer=signer)
        *ssh, login = self.lab.ssh_command(self.host)
        url = f"git@{login.partition('@')[2]}:{BARE}"
        self.signed.fleet.git(
            "-c", f"core.sshCommand={shlex.join(ssh)}", "push", "--force", "--quiet", url, "HEAD:main"
        )
        return commit

    def start(self, unit: str = GITOPS) -> tuple[int, str]:
        """Start a service and wait for its end; returns systemctl's exit status and what the journal has of the run."""
        since = self.here()
        status = self.lab.exec(self.host, ["systemctl", "start", unit], check=False, timeout_s=600).returncode
        return status, self.journal(since, unit)

    def here(self) -> str:
        """Where the journal is now."""
        return self.signed.fleet.journal(self.host)

    def journal(self, since: str, unit: str = GITOPS) -> str:
        """What a service, and systemd of it, have said since a place of the journal."""
        self.sh("journalctl --sync")
        return self.sh(f"journalctl --quiet --output=cat --unit={unit} --after-cursor='{since}'")

    def shown(self, unit: str, *properties: str) -> list[str]:
        """What systemd says of a unit."""
        names = [f"--property={name}" for name in properties]
        told = self.lab.exec(self.host, ["systemctl", "show", *names, unit]).stdout
        values = dict(line.split("=", 1) for line in told.splitlines())
        return [values[name] for name in properties]

    def drop_in(self, unit: str, text: str) -> None:
        """Change a unit as an administrator does."""
        folder = f"/etc/systemd/system/{unit}.d"
        self.sh(f"install -d {folder}; cat >{folder}/test.conf; systemctl daemon-reload", stdin=text)

    def records(self) -> list[str]:
        """The files of the machine's records, the latest first."""
        return self.sh(f"ls {RUNS} | sort -r").split()

    def record(self) -> Record:
        """The latest record."""
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as copy:
            copy.write(self.sh(f"cat {RUNS}/{self.records()[0]}"))
            copy.flush()
            return read(Path(copy.name))


def a_runner(signed: Signed, folder: Path) -> Runner:
    """Make the machine. ``folder``: for this machine's own use."""
    runner = Runner(signed)
    runner.sh(
        f"export DEBIAN_FRONTEND=noninteractive; apt='apt-get -qq'; $apt update; "
        f"$apt -y --no-install-recommends install {PACKAGES} >/dev/null",
        timeout_s=600,
    )
    _forge(runner)
    _install(runner, folder)
    _configure(runner, folder)
    runner.push()
    return runner


def _forge(runner: Runner) -> None:
    """A bare repository behind SSH; the operator may push, with the key that opens this host on its first day."""
    runner.sh(
        "adduser --quiet --system --group --shell /bin/sh --home /srv/git git; "
        f"install -d -o git -m 700 /srv/git/.ssh; "
        f"install -o git -m 600 /root/.ssh/authorized_keys /srv/git/.ssh/; install -d -m 750 {ETC}; "
        f"su git -c 'git init --quiet --bare --initial-branch=main {BARE}'; "
        f"ssh-keygen -q -t ed25519 -N '' -f {ETC}/deploy_key; "
        f"cat {ETC}/deploy_key.pub >>/srv/git/.ssh/authorized_keys; "
        f"sed 's/^/localhost /' /etc/ssh/ssh_host_ed25519_key.pub >{ETC}/known_hosts"
    )


def _install(runner: Runner, folder: Path) -> None:
    """hearth in its folder, for the machine's own Python; this machine fetches the packages, that one asks no index."""
    version = runner.sh("python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'").strip()
    wheels = folder / "wheels"
    constraints = ("--constraint", str(REPOSITORY / "constraints.txt"))
    target = ("--only-binary=:all:", "--python-version", version, "--dest", str(wheels))
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", *constraints, *target, "setuptools", str(REPOSITORY)]
    subprocess.run(fetch, check=True, capture_output=True)
    files = subprocess.run(
        ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached"], check=True, capture_output=True, text=True
    ).stdout
    runner.sh(f"install -d {HEARTH} /root/wheels")
    runner.put(REPOSITORY, HEARTH, "--null", "--files-from", _written(folder / "files", files))
    runner.put(wheels, "/root/wheels", ".")
    runner.sh(
        f"cd {HEARTH}; python3 -m venv .venv; .venv/bin/pip install --quiet --no-index --find-links /root/wheels "
        "--constraint constraints.txt --editable .",
        timeout_s=600,
    )


def _configure(runner: Runner, folder: Path) -> None:
    """The account, its files and the units, by docs/gitops.md."""
    known = yaml.safe_load(runner.signed.local.read_text())
    private = folder / "private"
    shutil.copytree(known["authority"]["folder"], private / "authority")
    for path in (known["operator"]["identity"], known["authority"]["passphrase_file"]):
        for file in Path(path).parent.glob(f"{Path(path).name}*"):
            shutil.copy(file, private)
    known["operator"]["identity"] = f"{ETC}/operator"
    known["authority"] = {"folder": f"{ETC}/authority", "passphrase_file": f"{ETC}/passphrase"}
    # It is nobody's desk: no host has an address here but what the repository says.
    del known["hosts"]
    (private / "local.yaml").write_text(yaml.safe_dump(known))
    shutil.copy(runner.signed.signers, private / "allowed_signers")
    login = f"ssh -i {ETC}/deploy_key -o UserKnownHostsFile={ETC}/known_hosts -o BatchMode=yes"
    (private / "gitops.env").write_text(f"HEARTH_REPOSITORY={FORGE}\nGIT_SSH_COMMAND={login}\n")
    runner.put(private, ETC, ".")
    runner.sh(
        f"adduser --quiet --system --group --home {STATE} hearth; "
        f"chown -R root:hearth {ETC}; chmod -R u=rwX,g=rX,o= {ETC}; "
        f"install -m 0644 {HEARTH}/packaging/systemd/hearth-* /etc/systemd/system/; systemctl daemon-reload"
    )


def _written(file: Path, text: str) -> str:
    file.write_text(text)
    return str(file)

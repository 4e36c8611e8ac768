"""A fleet's git repository with signed commits, and ``hearth gitops`` that converges it with a stand-in for pyinfra."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from hearth.fleet import gitops
from hearth.fleet.errors import RunError
from tests.unit.fleet.command import HEARTH, REPOSITORY, Operator, an_operator

PEOPLE = ("anna", "mallory")


@dataclass(frozen=True)
class Fleet:
    """``bare``: the repository that is fetched. ``work``: Anna's clone of it. ``operator``: hosts and records.

    Anna may sign and Mallory may not.
    """

    folder: Path
    operator: Operator

    def at(self, folder: Path) -> Fleet:
        """The same in a copy of its folder."""
        return Fleet(folder, Operator(folder / "inventory", folder / "stand-in"))

    @property
    def bare(self) -> Path:
        return self.folder / "fleet.git"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def inventory(self) -> Path:
        return self.work / "inventory"

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def signers(self) -> Path:
        return self.folder / "allowed_signers"

    def git(self, *arguments: str, signer: str | None = "anna") -> str:
        """git in Anna's clone; commits are signed with the key of ``signer``, or not at all."""
        signed = ("-c", "commit.gpgSign=true", "-c", f"user.signingKey={self.folder / str(signer)}") if signer else ()
        who = ("-c", "user.name=anna", "-c", "user.email=anna@home.example", "-c", "gpg.format=ssh")
        done = subprocess.run(
            ["git", *who, *signed, *arguments],
            cwd=self.work,
            env=os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str = "Change", signer: str | None = "anna") -> str:
        """Commit all that is in the clone, without pushing it; returns the commit."""
        self.git("add", "--all")
        self.git("commit", "--allow-empty", "--message", message, signer=signer)
        return self.git("rev-parse", "HEAD")

    def push(self, message: str = "Change", signer: str | None = "anna") -> str:
        """Commit, and push to main; returns the commit."""
        commit = self.commit(message, signer)
        self.git("push", "--force", "--quiet", str(self.bare), "HEAD:refs/heads/main")
        return commit

    def resize(self, household: str) -> None:
        """Change a household in a way that concerns its box alone."""
        file = self.inventory / f"households/{household}.yaml"
        text = file.read_text().replace("upload_limit: 3000M", "upload_limit: 3001M")
        assert text != file.read_text()
        file.write_text(text)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start ``hearth gitops``."""
        options = ["--repository", str(self.bare), "--signers", str(self.signers), "--checkout", str(self.checkout)]
        return subprocess.Popen(
            [sys.executable, "-c", HEARTH, "gitops", *options, "--attempts", "1", "--no-gate", *arguments],
            cwd=self.folder,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
                "STAND_IN": str(self.operator.folder),
                "HEARTH_PYINFRA": str(self.operator.folder / "pyinfra"),
                "COLUMNS": "200",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def gitops(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``hearth gitops`` to its end."""
        process = self.start(*arguments, **environment)
        stdout, stderr = process.communicate(timeout=120)
        assert "Traceback" not in stderr, stderr
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def refusal(self) -> str:
        """Why the branch must not be converged, as it is now."""
        source = gitops.Source(str(self.bare), "main", self.signers, folder=self.checkout)
        with pytest.raises(RunError) as refused, gitops.opened(source) as clone:
            clone.candidate()
        return str(refused.value)

    def checked_out(self) -> str:
        """The commit that is checked out on the machine that converges."""
        done = subprocess.run(
            ["git", "-C", str(self.checkout / "tree"), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def visited(self) -> list[str]:
        """The hosts that were gone to since the last time this was asked, each as often as it was."""
        log = self.operator.folder / "log"
        hosts = [host for word, host in self.operator.log() if word == "begin"]
        log.unlink(missing_ok=True)
        return hosts


def a_repository(folder: Path) -> Fleet:
    """A bare repository with a signed commit of a fleet of six households, and nothing converged yet."""
    fleet = Fleet(folder, an_operator(folder))
    fleet.work.mkdir()
    shutil.move(fleet.operator.inventory, fleet.inventory)
    for person in PEOPLE:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / person)], check=True)
    kind, key = (folder / "anna.pub").read_text().split()[:2]
    fleet.signers.write_text(f'anna@home.example namespaces="git" {kind} {key}\n')
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(fleet.bare)], check=True)
    fleet.git("init", "--quiet", "--initial-branch=main")
    fleet.push("The fleet")
    return fleet

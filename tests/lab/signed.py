"""One home behind a relay, its inventory in a git repository whose commits are signed, and ``hearth gitops``."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from tests.lab.boxes import Operator
from tests.lab.fleets import Fleet, ended, leave_out

PEOPLE = ("anna", "mallory")


@dataclass(frozen=True)
class Signed:
    """``fleet``: the operator's clone, in which he works. Anna may sign and Mallory may not."""

    fleet: Fleet
    folder: Path

    @property
    def bare(self) -> Path:
        """The repository that is fetched."""
        return self.folder / "fleet.git"

    @property
    def signers(self) -> Path:
        """Who may sign."""
        return self.folder / "allowed_signers"

    @property
    def local(self) -> Path:
        """How the machine that converges reaches the hosts."""
        return self.folder / "local.yaml"

    def push(self, *arguments: str, signer: str | None = "anna") -> str:
        """Commit, or do what git is told instead, and push to main; returns the commit."""
        self.git(*(arguments or ("commit", "--quiet", "--all", "--allow-empty", "--message", "Change")), signer=signer)
        self.fleet.git("push", "--force", "--quiet", str(self.bare), "HEAD:refs/heads/main")
        return self.fleet.git("rev-parse", "HEAD")

    def git(self, *arguments: str, signer: str | None = "anna") -> str:
        """git in the operator's clone; commits are signed with the key of ``signer``, or not at all."""
        key = ("-c", f"user.signingKey={self.folder / str(signer)}", "-c", "gpg.format=ssh")
        return self.fleet.git(*key, "-c", f"commit.gpgSign={'true' if signer else 'false'}", *arguments)

    def gitops(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``hearth gitops`` to its end, as a timer does."""
        who = ("--repository", str(self.bare), "--signers", str(self.signers), "--local", str(self.local))
        checkout = ("--checkout", str(self.folder / "checkout"))
        return ended(self.fleet.start_as_typed("gitops", *who, *checkout, "--attempts", "1", *arguments))


def one_home(home: Operator, folder: Path) -> Fleet:
    """The fleet of ``home`` and its relay alone, in the repository ``folder``."""
    folder.mkdir(parents=True)
    inventory = Path(shutil.copytree(home.inventory, folder / "inventory"))
    fleet = Fleet(replace(home, inventory=inventory), folder.with_name("state"))
    leave_out(inventory, "schmidt")
    (inventory / "collected/pi1.yaml").unlink(missing_ok=True)
    fleet.rewrite("fleet.yaml", lambda data: data.update(pis=[], helpers=[]))
    fleet.rewrite("households/mueller.yaml", lambda data: data.pop("support", None))
    fleet.rewrite("local.yaml", lambda data: data["hosts"].pop("pi1", None))
    (folder / ".gitignore").write_text("local.yaml\n")
    fleet.git("init", "--quiet", "--initial-branch", "main", str(folder))
    fleet.commit()
    return fleet


def a_repository(home: Operator, folder: Path) -> Signed:
    """The fleet of ``home`` and its relay in a bare repository, at a signed commit."""
    signed = Signed(one_home(home, folder / "work"), folder)
    for person in PEOPLE:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / person)], check=True)
    kind, key = (folder / "anna.pub").read_text().split()[:2]
    signed.signers.write_text(f'anna@home.example namespaces="git" {kind} {key}\n')
    shutil.move(signed.fleet.inventory / "local.yaml", signed.local)
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(signed.bare)], check=True)
    signed.push()
    return signed

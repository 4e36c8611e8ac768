"""git, used so that nothing which a repository holds can run or decide anything here before its signature is verified.

Neither the account's git configuration nor the system's is read, and hooks are off. Attributes of the repository's
own files (filters, line ends, encodings) are overruled in ``info/attributes``, symbolic links become plain files,
submodules are left alone, and only transports that check whom they talk to are allowed. What is fetched lies under a
name of its own until it was looked at: nothing is checked out by fetching.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hearth.fleet.errors import RunError
from hearth.inventory.faults import UNPRINTABLE, quoted

TIMEOUT_S = 600.0
CANDIDATE = "refs/hearth/candidate"
OTHERS = (
    "the repository belongs to another account of this machine; give it by ssh://, or to the account that runs hearth"
)
# info/attributes has the last word over every .gitattributes (gitattributes(5)).
ATTRIBUTES = "* -text -eol -ident -filter -working-tree-encoding -merge -diff\n"
# Written into the repository too, so that whoever looks into it with git sees the files as they were put.
SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.attributesFile": "/dev/null",
    "core.symlinks": "false",
    "core.autocrlf": "false",
    "core.fsmonitor": "false",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
_FETCH = {
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "protocol.ssh.allow": "always",
    "protocol.file.allow": "always",
    "fetch.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
}
# How an operator lets git log in; everything else that steers git from outside is left out.
_KEPT = ("GIT_SSH_COMMAND", "GIT_SSH", "GIT_ASKPASS", "GIT_SSL_CAINFO")


class GitError(RunError):
    """git could not do it; the message says what, in git's own words where there are any."""


@dataclass(frozen=True)
class Signature:
    """A good signature. ``principal``: whom the file of allowed signers names for ``key``, a fingerprint."""

    principal: str
    key: str


@dataclass(frozen=True)
class Repository:
    """A repository of our own at ``folder``, with a working tree."""

    folder: Path

    def make(self) -> None:
        """Make it, or put the settings of an existing one right."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._git("init", "--quiet", "--template=", "--initial-branch=hearth")
        for name, value in SETTINGS.items():
            self._git("config", "--local", name, value)
        info = self.folder / ".git/info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_text(ATTRIBUTES)
        # The link to this machine's own file, so that it does not make the inventory look changed.
        (info / "exclude").write_text("local.yaml\n")

    def fetch(self, source: str, branch: str) -> str:
        """Fetch a branch and return its commit; nothing else of the repository changes. Raises GitError."""
        refspec = f"+refs/heads/{branch}:{CANDIDATE}"
        try:
            self._git(
                "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--", source, refspec, settings=_FETCH
            )
        except GitError as fault:
            # git's advice is a setting that would not be read here.
            why = OTHERS if "dubious ownership" in str(fault) else fault
            raise GitError(f"cannot fetch {branch} of {source}: {why}") from fault
        return self._git("rev-parse", "--verify", f"{CANDIDATE}^{{commit}}").strip()

    def signature(self, commit: str, signers: Path) -> Signature | None:
        """Who of the allowed ``signers`` signed a commit; None when none of them did.

        Only signatures by SSH keys count: one by OpenPGP would ask the account's own keyring, which nobody wrote down.
        """
        settings = {
            "gpg.ssh.allowedSignersFile": str(signers),
            "gpg.ssh.program": "ssh-keygen",
            "gpg.program": "/bin/false",
            "gpg.openpgp.program": "/bin/false",
            "gpg.x509.program": "/bin/false",
            # A key that no line of the file names is "good" to git, and not trusted.
            "gpg.minTrustLevel": "fully",
        }
        if self._run("verify-commit", commit, settings=settings).returncode != 0:
            return None
        told = self._git("log", "-1", "--format=%G?%x00%GS%x00%GF", commit, settings=settings).rstrip("\n").split("\0")
        return Signature(_plain(told[1]), _plain(told[2])) if told[0] == "G" and len(told) == 3 else None

    def has(self, commit: str) -> bool:
        """Whether a commit is there."""
        return self._run("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``newer`` is ``older`` or comes after it."""
        return self._run("merge-base", "--is-ancestor", older, newer).returncode == 0

    def new_on_line(self, base: str, tip: str) -> list[str]:
        """The commits that a branch was at between ``base`` and ``tip``, the oldest first; ``tip`` is the last."""
        return self._git("rev-list", "--first-parent", "--reverse", f"{base}..{tip}").split()

    def title(self, commit: str) -> str:
        """A commit as people say it: the beginning of its hash, and its first line."""
        return f"{commit[:12]} {quoted(self._git('log', '-1', '--format=%s', '--no-show-signature', commit).strip())}"

    def put(self, commit: str, folder: Path) -> None:
        """Put the files of a commit into a folder of their own, made anew; the working tree stays as it is."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        index = folder.with_suffix(".index")
        index.unlink(missing_ok=True)
        self._git("read-tree", commit, index=index)
        self._git(f"--work-tree={folder}", "checkout-index", "--all", "--quiet", index=index)
        index.unlink()

    def check_out(self, commit: str) -> None:
        """Make the working tree the files of a commit, and nothing else."""
        (self.folder / ".git/index.lock").unlink(missing_ok=True)
        self._git("checkout", "--quiet", "--force", "--detach", "--no-recurse-submodules", commit, "--")
        self._git("clean", "-ffdxq")

    def _git(self, *arguments: str, settings: dict[str, str] | None = None, index: Path | None = None) -> str:
        done = self._run(*arguments, settings=settings, index=index)
        if done.returncode != 0:
            words = [_plain(line) for line in done.stderr.splitlines() if line.strip()]
            raise GitError("; ".join(words[:3]) or f"git {arguments[0]} ended with status {done.returncode}")
        return done.stdout

    def _run(
        self, *arguments: str, settings: dict[str, str] | None = None, index: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        given = [part for name, value in {**SETTINGS, **(settings or {})}.items() for part in ("-c", f"{name}={value}")]
        command = ["git", f"--git-dir={self.folder}/.git", f"--work-tree={self.folder}", *given, *arguments]
        try:
            return subprocess.run(
                command,
                cwd=self.folder,
                env=environment() | ({"GIT_INDEX_FILE": str(index)} if index else {}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError as fault:
            raise GitError("git is not installed on this machine; install it") from fault
        except subprocess.TimeoutExpired as fault:
            raise GitError(f"git {arguments[0]} did not end within {TIMEOUT_S:.0f} seconds") from fault


def environment() -> dict[str, str]:
    """The environment of git: nothing of the account's or the system's configuration, and nobody is asked anything."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT}
    return {
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        **kept,
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }


def check_source(source: str, branch: str) -> str:
    """Given what was typed as repository and branch, return the address for git, a path made absolute.

    Raises GitError when it would not be safe to use, or makes no sense.
    """
    if not re.fullmatch(r"(?!.*(\.\.|//|@\{|\.lock$))[A-Za-z0-9_][A-Za-z0-9_./-]*", branch):
        raise GitError(f"--branch {quoted(branch)} is no name of a branch")
    if re.match(r"[a-z+]+://[^/@]*:[^/@]*@", source):
        raise GitError("--repository holds a password, which others could read; use a key, or $GIT_ASKPASS")
    if re.match(r"(https|ssh|file)://[^-]", source) or re.match(r"[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][\w.-]*:", source):
        return source
    if "::" in source or "://" in source:
        raise GitError(f"--repository {quoted(source)}: only https://, ssh:// and paths are fetched from")
    path = Path(source).expanduser().absolute()
    if not path.is_dir():
        raise GitError(f"--repository {quoted(source)}: there is no such folder")
    return str(path)


def _plain(text: str) -> str:
    return UNPRINTABLE.sub(" ", text).strip()

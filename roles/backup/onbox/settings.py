"""What the box's backup should be, read from ``/etc/hearth/backup.toml``, and where everything lies."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from .common import Fault, description

DESCRIPTION = Path("/etc/hearth/backup.toml")


@dataclass(frozen=True)
class Paths:
    """Where things lie on the box; docs/backup.md lists them for people."""

    secrets: Path = Path("/etc/hearth/secrets")
    public: Path = Path("/etc/hearth/backup")
    state: Path = Path("/var/lib/hearth/backup")
    page_state: Path = Path("/var/lib/hearth-key-page")
    cache: Path = Path("/var/cache/hearth/restic")
    frozen: Path = Path("/srv/hearth/frozen")
    lock: Path = Path("/run/lock/hearth-backup")
    cloud: Path = Path("/usr/lib/hearth/owncloud")

    @property
    def box_key(self) -> Path:
        """The password of the box's own key of the repository."""
        return self.secrets / "backup-key"

    @property
    def store_password(self) -> Path:
        """The password of the box's account at the store."""
        return self.secrets / "store-password"

    @property
    def paper_key(self) -> Path:
        """The household's key, until it is on paper; empty afterwards."""
        return self.secrets / "paper-key"

    @property
    def credentials(self) -> Path:
        """What another repository than the store's wants to be told, put there by hand."""
        return self.secrets / "repository.env"

    @property
    def ssh_key(self) -> Path:
        """The box's own SSH key for a repository by SFTP, made on the box."""
        return self.secrets / "repository-ssh-key"

    @property
    def ssh_public(self) -> Path:
        """Its public half, a line for the account's authorized keys."""
        return self.public / "repository-ssh-key.pub"

    @property
    def known_hosts(self) -> Path:
        """The SSH host key of a repository by SFTP, put there by hand."""
        return self.public / "repository.known-hosts"

    @property
    def store_login(self) -> Path:
        """The box's account at the store: a line of htpasswd."""
        return self.public / "store-login"

    @property
    def fingerprint(self) -> Path:
        """The fingerprint of the household's key."""
        return self.public / "paper-key.fingerprint"

    @property
    def certificate(self) -> Path:
        """The store's own certificate, which the box trusts and no other."""
        return self.public / "store.pem"

    @property
    def page_key(self) -> Path:
        """The TLS key of the page about the household's key, which only the home's network sees."""
        return self.public / "page-key.pem"

    @property
    def page_certificate(self) -> Path:
        """Its certificate, by itself: no name leads to a box on its own network, so none could be vouched for."""
        return self.public / "page-certificate.pem"

    @property
    def last_good(self) -> Path:
        """Its time is that of the last good backup."""
        return self.state / "last-good"

    @property
    def last_proven(self) -> Path:
        """Its time is that at which a restore was last proven."""
        return self.state / "last-proven"

    @property
    def paper(self) -> Path:
        """What became of the household's key."""
        return self.state / "paper.json"


@dataclass(frozen=True)
class Settings:
    """The whole description; it holds no secret.

    ``repository``: as restic has it. ``store``: whether it is a store of the fleet's, which knows the box by its login
    and offers repositories for clearing up at ``prune``. ``admins``: the cloud's accounts that may see the paper key.
    ``page_port``: of the page about it, on the home's network alone.
    """

    household: str
    domain: str
    repository: str
    admins: tuple[str, ...]
    page_port: int
    store: bool = True
    prune: str = ""
    upload_limit_kib_s: int = 0
    paths: Paths = field(default_factory=Paths)


def parse(text: str) -> Settings:
    """Given the description's text, return the Settings. Raises Fault when it does not hold together."""
    try:
        raw = tomllib.loads(text)
        raw["admins"] = tuple(raw["admins"])
        return Settings(**raw)
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as fault:
        raise Fault(f"{DESCRIPTION} is not as hearth writes it ({fault}); converge the box again") from None


def load(path: Path = DESCRIPTION) -> Settings:
    """Read the description. Raises Fault when it is missing or wrong."""
    return parse(description(path))

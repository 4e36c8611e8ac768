"""The secrets that the box makes, and the household's key on its way to the paper.

What becomes of the household's key, in order; a run that was killed goes on where it was:

    made         it lies in ``secrets/paper-key``, its fingerprint in ``paper-key.fingerprint``
    added        it is one of the repository's keys, and was seen to open it; ``paper.json`` names the repository
    shown        the sheet may be printed, as often as the printer jams; each showing is noted
    confirmed    somebody has typed one of its groups back; ``secrets/paper-key`` is empty from then on

A repository other than the one that ``paper.json`` names knows nothing of an old sheet: the household gets a new key.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from . import paperkey
from .common import Fault
from .elsewhere import is_s3, is_sftp
from .repository import WRONG_KEY, Repository, explained, key_file, opens
from .settings import Paths, Settings
from .system import last_words, run, text_of, write_whole

# The password is 256 random bits, so slowness adds nothing, and the store checks it at every request.
COST = "5"
CREDENTIALS = """\
# What the backup's repository wants to be told, one NAME=VALUE a line; of S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
# It is put here by hand, on the box, and goes nowhere else. This file is yours; hearth reads it and never changes it.
"""


@dataclass(frozen=True)
class Paper:
    """The household's key in the repository of the id ``repository``. Times are ISO 8601, UTC; empty: not yet."""

    repository: str = ""
    added: str = ""
    confirmed: str = ""


def now() -> str:
    """The time as it stands in files."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def secrets_are_made(settings: Settings) -> bool:
    """Whether the box has all that it makes by itself, and its login is of its password."""
    paths = settings.paths
    if not text_of(paths.box_key) or not paths.paper_key.exists() or not paths.page_certificate.exists():
        return False
    if not settings.store:
        own = (paths.ssh_key, paths.ssh_public) if is_sftp(settings) else (paths.credentials,)
        return all(path.exists() for path in own)
    return bool(text_of(paths.store_password)) and _login_fits(settings)


def make_secrets(settings: Settings) -> None:
    """Make what is missing; nothing that is there is ever made anew. Raises Fault."""
    paths = settings.paths
    paths.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not text_of(paths.box_key):
        write_whole(paths.box_key, secrets.token_hex(32) + "\n")
    if not paths.paper_key.exists():
        write_whole(paths.paper_key, "")
    if not paths.page_certificate.exists():
        make_certificate(settings)
    if not settings.store:
        make_secrets_for_elsewhere(settings)
        return
    if not text_of(paths.store_password):
        write_whole(paths.store_password, secrets.token_hex(32) + "\n")
    if not _login_fits(settings):
        command = ["htpasswd", "-n", "-i", "-B", "-C", COST, settings.household]
        done = run(command, stdin=text_of(paths.store_password).encode(), timeout_s=60)
        if done.returncode:
            raise Fault(f"the login for the store could not be made: {last_words(done.stderr)}")
        write_whole(paths.store_login, done.stdout.decode().strip().partition(":")[2] + "\n", 0o644)


def make_secrets_for_elsewhere(settings: Settings) -> None:
    """Make the box's SSH key for a repository by SFTP, or the file that a person fills in for S3. Raises Fault."""
    paths = settings.paths
    if is_sftp(settings):
        if not paths.ssh_key.exists() or not paths.ssh_public.exists():
            make_ssh_key(settings)
    elif is_s3(settings) and not paths.credentials.exists():
        write_whole(paths.credentials, CREDENTIALS)


def make_ssh_key(settings: Settings) -> None:
    """Make the box's SSH key for a repository by SFTP; the private half is on the disk last. Raises Fault."""
    paths = settings.paths
    with TemporaryDirectory(dir=paths.secrets) as folder:
        key = Path(folder, "key")
        words = ("-q", "-t", "ed25519", "-N", "", "-C", f"backup of {settings.household}", "-f", str(key))
        made = run(["ssh-keygen", *words], timeout_s=60)
        if made.returncode:
            raise Fault(f"the SSH key for the backup could not be made: {last_words(made.stderr)}")
        write_whole(paths.ssh_public, key.with_suffix(".pub").read_text(), 0o644)
        write_whole(paths.ssh_key, key.read_text())


def make_certificate(settings: Settings) -> None:
    """Make key and certificate of the page about the household's key. Raises Fault."""
    paths = settings.paths
    paths.public.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=paths.public) as folder:
        key, certificate = (Path(folder, name) for name in ("key", "certificate"))
        made = run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *(
                    "-days",
                    "7300",
                    "-subj",
                    f"/CN={settings.domain}",
                    "-addext",
                    f"subjectAltName=DNS:{settings.domain}",
                ),
                *("-keyout", str(key), "-out", str(certificate)),
            ],
            timeout_s=60,
        )
        if made.returncode:
            raise Fault(f"the certificate of the key's page could not be made: {last_words(made.stderr)}")
        write_whole(paths.page_key, key.read_text())
        write_whole(paths.page_certificate, certificate.read_text(), 0o644)


def _login_fits(settings: Settings) -> bool:
    login, password = text_of(settings.paths.store_login), text_of(settings.paths.store_password)
    if not login or not password:
        return False
    with NamedTemporaryFile("w") as file:
        file.write(f"{settings.household}:{login}\n")
        file.flush()
        done = run(["htpasswd", "-v", "-i", file.name, settings.household], stdin=password.encode(), timeout_s=60)
    return done.returncode == 0


def read_paper(paths: Paths) -> Paper:
    """What became of the household's key."""
    try:
        return Paper(**json.loads(paths.paper.read_text()))
    except FileNotFoundError:
        return Paper()
    except (ValueError, TypeError):
        raise Fault(f"{paths.paper} cannot be read; `hearth-key renew` makes a new key and a new sheet") from None


def write_paper(paths: Paths, paper: Paper) -> None:
    """Remember it; no secret."""
    write_whole(paths.paper, json.dumps(asdict(paper)) + "\n", 0o644)


def repository_id(settings: Settings, repository: Repository) -> str:
    """The repository's own id. Raises Fault when the box's key does not open it."""
    done = repository.restic(settings.paths.box_key, "cat", "config", "--no-lock")
    if done.returncode == WRONG_KEY:
        raise Fault(
            f"the repository of {settings.household} was made with another box's key, so this box neither reads nor "
            "adds to it; restore from it under a new household id, or have the store move it away"
        )
    if done.returncode:
        raise Fault(f"the repository cannot be opened: {explained(done)}")
    return str(json.loads(done.stdout)["id"])


def keep_paper_key(settings: Settings, repository: Repository) -> None:
    """See that the household's key opens this repository, and make one where there is none. Raises Fault."""
    paths, here, paper = settings.paths, repository_id(settings, repository), read_paper(settings.paths)
    if paper.repository == here and (paper.confirmed or text_of(paths.paper_key)):
        return
    add(settings, repository, here, text_of(paths.paper_key) or paperkey.make())


def renew(settings: Settings, repository: Repository) -> None:
    """Give the repository a new key for a new sheet; the old one goes on opening it. Raises Fault."""
    add(settings, repository, repository_id(settings, repository), paperkey.make())


def add(settings: Settings, repository: Repository, here: str, key: str) -> None:
    """Make ``key`` the household's: on the disk first, then in the repository, where it is tried. Raises Fault."""
    paths = settings.paths
    write_whole(paths.paper_key, key + "\n")
    write_whole(paths.fingerprint, paperkey.fingerprint(key) + "\n", 0o644)
    write_paper(paths, Paper())
    if not opens(settings, repository, key):
        with key_file(key) as path:
            words = ("--new-password-file", str(path), "--user", f"paper-{now()[:10]}", "--host", settings.household)
            repository.must("adding the household's key", paths.box_key, "key", "add", *words)
        if not opens(settings, repository, key):
            raise Fault("the household's key was added and does not open the repository; look at the store")
    write_paper(paths, Paper(here, now()))


def confirm(settings: Settings) -> None:
    """The key is on paper: remove it from the box."""
    paper = read_paper(settings.paths)
    if paper.repository and not paper.confirmed:
        write_paper(settings.paths, Paper(paper.repository, paper.added, now()))
    if paper.repository:
        write_whole(settings.paths.paper_key, "")


def settle(settings: Settings) -> None:
    """Take up what was confirmed on the page, whose account can do no more than say so."""
    said = settings.paths.page_state / "confirmed"
    key = text_of(settings.paths.paper_key)
    if key and text_of(said) == paperkey.fingerprint(key):
        confirm(settings)
    said.unlink(missing_ok=True)


def is_unprinted(paths: Paths) -> bool:
    """Whether the household has no sheet that opens the repository."""
    return not read_paper(paths).confirmed

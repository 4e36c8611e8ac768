"""The repository: whether it lets the box in, and restic with one key or another. No secret is ever an argument."""

from __future__ import annotations

import base64
import contextlib
import http.client
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import urlsplit

from . import elsewhere
from .common import Fault
from .settings import Settings
from .system import Unanswered, Waits, last_words, run, text_of

LOOK_S = 20
# restic's own exit statuses (since 0.17): its documentation, "Scripting".
NO_REPOSITORY, LOCKED, WRONG_KEY = 10, 11, 12
KNOWN = {
    NO_REPOSITORY: "there is no repository any more",
    LOCKED: "somebody else is at work on the repository",
    WRONG_KEY: "the repository does not know the key",
}
POLITE = ("nice", "-n", "10", "ionice", "-c", "3")


@dataclass(frozen=True)
class Repository:
    """A repository, and how its server is told who asks: ``env`` holds that, for restic's environment alone."""

    url: str
    env: Mapping[str, str]
    options: tuple[str, ...]
    cache: Path

    def restic(
        self, key: Path, *words: str, cwd: Path | None = None, timeout_s: float | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run restic with the password in the file ``key``."""
        return run(self.command(key, *words), env=self.env, cwd=cwd, timeout_s=timeout_s)

    def command(self, key: Path, *words: str) -> list[str]:
        """The command line of restic with the password in the file ``key``."""
        line = [*POLITE, "restic", "--repo", self.url, "--cache-dir", str(self.cache), "--password-file", str(key)]
        return [*line, *self.options, *words]

    def must(self, what: str, key: Path, *words: str, cwd: Path | None = None) -> bytes:
        """Run restic and return what it printed. Raises Fault, in which ``what`` says what failed."""
        done = self.restic(key, *words, cwd=cwd)
        if done.returncode:
            raise Fault(f"{what} failed: {explained(done)}")
        return done.stdout


def explained(done: subprocess.CompletedProcess[bytes]) -> str:
    """Why restic ended as it did, in words."""
    return KNOWN.get(done.returncode) or last_words(done.stderr, done.stdout)


def the_store(settings: Settings, url: str = "") -> Repository:
    """The box's repository (or another one of its server at ``url``). Raises Waits when its credentials are missing."""
    paths = settings.paths
    # restic's cache goes by the repository's id, which a copy of it shares.
    cache = paths.cache / ("copy" if url else "own")
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    options: tuple[str, ...] = ("--retry-lock", "2m")
    if settings.store:
        if not paths.certificate.exists():
            raise Waits("the store has not been collected yet: converge it, then run `hearth collect` for it")
        env = {
            "RESTIC_REST_USERNAME": settings.household,
            "RESTIC_REST_PASSWORD": text_of(paths.store_password),
        }
        return Repository(url or settings.repository, env, (*options, "--cacert", str(paths.certificate)), cache)
    env = elsewhere.environment(settings)
    return Repository(settings.repository, env, (*options, *elsewhere.options(settings)), cache)


def look(settings: Settings, repository: Repository) -> bool:
    """Whether there is a repository already (False: an empty place for one). Raises Waits when nobody lets us in.

    restic repeats for a quarter of an hour what is refused to it, so a store is asked before.
    """
    if not settings.store:
        return look_elsewhere(settings, repository)
    try:
        status = ask(repository)
    except (OSError, http.client.HTTPException) as fault:
        raise Waits(
            f"the store does not answer through the tunnel ({fault}); is it converged, and the tunnel up?"
        ) from None
    if status == http.HTTPStatus.UNAUTHORIZED:
        raise Waits("the store does not know this box yet: run `hearth collect` for it, then converge the store")
    if status not in (http.HTTPStatus.OK, http.HTTPStatus.NOT_FOUND):
        raise Waits(f"the store answers {status}; look at its journal")
    return status == http.HTTPStatus.OK


def look_elsewhere(settings: Settings, repository: Repository) -> bool:
    """As ``look``, at a repository that is at no store."""
    return tried(settings, repository, settings.paths.box_key) != NO_REPOSITORY


def tried(settings: Settings, repository: Repository, key: Path) -> int:
    """restic's exit status, 0 or one of ``KNOWN``, when it opens the repository with the password in the file ``key``.

    Raises Waits when it gives another one, or none within ``LOOK_S``.
    """
    if elsewhere.is_sftp(settings):
        elsewhere.ask_sftp(settings)
    try:
        done = repository.restic(key, "cat", "config", "--no-lock", timeout_s=LOOK_S)
    except Unanswered as fault:
        said = fault.said
    else:
        if done.returncode == 0 or done.returncode in KNOWN:
            return done.returncode
        said = done.stderr
    if settings.store:
        raise Waits(f"restic cannot read at the store ({last_words(said)}); look at the store's journal")
    raise Waits(elsewhere.refusal(settings, said))


def ask(repository: Repository, method: str = "HEAD", path: str = "config") -> int:
    """The store's answer (an HTTP status) when it is asked for something of the repository. Raises OSError."""
    place = urlsplit(repository.url.removeprefix("rest:"))
    context = ssl.create_default_context(cafile=repository.options[repository.options.index("--cacert") + 1])
    connection = http.client.HTTPSConnection(place.hostname or "", place.port, timeout=LOOK_S, context=context)
    words = f"{repository.env['RESTIC_REST_USERNAME']}:{repository.env['RESTIC_REST_PASSWORD']}"
    login = base64.b64encode(words.encode()).decode()
    with contextlib.closing(connection):
        connection.request(method, f"{place.path}{path}", headers={"Authorization": f"Basic {login}"})
        return connection.getresponse().status


@contextlib.contextmanager
def key_file(key: str) -> Iterator[Path]:
    """A key in a file for restic, in memory and for this account alone."""
    with NamedTemporaryFile("w", dir="/dev/shm") as file:
        file.write(key)
        file.flush()
        yield Path(file.name)


def opens(settings: Settings, repository: Repository, key: str) -> bool:
    """Whether a key opens the repository. Raises Fault when that cannot be said, before who asks gives up waiting."""
    if settings.store:
        look(settings, repository)
    with key_file(key) as path:
        status = tried(settings, repository, path)
    if status in (0, WRONG_KEY):
        return status == 0
    raise Fault(KNOWN[status])

"""A repository elsewhere, S3 or SFTP: what its server is told of who asks, and why it does not let the box in.

restic repeats for a quarter of an hour what its server refuses, a wrong credential too; so a server is asked before,
with an end, and what it says becomes a sentence.
"""

from __future__ import annotations

import re
from shlex import quote
from urllib.parse import urlsplit

from .settings import Settings
from .system import Unanswered, Waits, last_words, run, text_of

CONNECT_S, ANSWER_S = 15, 20
S3_NEEDS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_LINE = re.compile(r"([A-Z][A-Z0-9_]*)\s*=\s*(\S+)")
_REPEATED = re.compile(r"returned error, retrying after \S+: (?:Stat: )?(.+)")
# What Go says of a connection that did not come about.
_NOT_REACHED = re.compile(r"dial tcp|i/o timeout|deadline exceeded|no such host|tls: |x509: ")


def is_sftp(settings: Settings) -> bool:
    """Whether the repository is reached by SSH."""
    return settings.repository.startswith("sftp:")


def is_s3(settings: Settings) -> bool:
    """Whether the repository is in S3-compatible storage."""
    return settings.repository.startswith("s3:")


def environment(settings: Settings) -> dict[str, str]:
    """What the server wants to be told in restic's environment: lines NAME=VALUE, put there by hand. Raises Waits."""
    if not is_s3(settings):
        return {}
    path = settings.paths.credentials
    found: dict[str, str] = {}
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        # The line itself may hold a secret, so it is named and not shown.
        if not match or match[2][0] in "'\"":
            raise Waits(f"{path}:{number}: this is no NAME=VALUE; write {S3_NEEDS[0]}=…, without quotes or `export`")
        found[match[1]] = match[2]
    missing = [name for name in S3_NEEDS if name not in found]
    if missing:
        told = "says nothing yet" if not found else f"does not say {missing[0]}"
        raise Waits(f"{path} {told}: put {'=… and '.join(missing)}=… there, on the box itself")
    return found


def ssh_words(settings: Settings) -> list[str]:
    """ssh's options: the box's own key for this server, and the host key that was put there by hand, alone."""
    paths = settings.paths
    options = ("IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes", "ServerAliveInterval=60")
    named = (*options, f"ConnectTimeout={CONNECT_S}", f"UserKnownHostsFile={paths.known_hosts}")
    return ["-F", "none", "-i", str(paths.ssh_key), *(word for option in named for word in ("-o", option))]


def options(settings: Settings) -> tuple[str, ...]:
    """What restic is told on its command line; no secret."""
    if not is_sftp(settings):
        return ()
    return ("--option", f"sftp.args={' '.join(quote(word) for word in ssh_words(settings))}")


def ssh_target(url: str) -> tuple[str, ...]:
    """Given restic's address of an SFTP repository, return ssh's words for its account and port."""
    if not url.startswith("sftp://"):
        return (url.removeprefix("sftp:").partition(":")[0],)
    place = urlsplit(url)
    return (*(("-p", str(place.port)) if place.port else ()), place.netloc.rpartition(":")[0] or place.netloc)


def ask_sftp(settings: Settings) -> None:
    """See whether the SFTP server lets the box in: ssh tells why not, which restic does not wait for. Raises Waits."""
    command = ["ssh", *ssh_words(settings), "-s", *ssh_target(settings.repository), "sftp"]
    try:
        done = run(command, timeout_s=ANSWER_S)
    except Unanswered as fault:
        raise Waits(not_reached(settings, str(fault))) from None
    if not done.returncode:
        return
    paths, said, url = settings.paths, done.stderr.decode(errors="replace"), settings.repository
    if "Host key verification failed" in said:
        raise Waits(
            f"the box does not know the SSH host key of {url}, or it is another now: put it into {paths.known_hosts} "
            "by ssh-keyscan, and compare `ssh-keygen -lf` of that file with what the server's keeper says"
        )
    if "Permission denied" in said:
        raise Waits(
            f"{url} does not let this box in: put the line of {paths.ssh_public} into that account's authorized keys"
        )
    raise Waits(not_reached(settings, last_words(done.stderr)))


def not_reached(settings: Settings, words: str) -> str:
    """The sentence of a server with which no connection comes about."""
    return f"{settings.repository} is not reached ({words}); is its server up, and the address right?"


def refusal(settings: Settings, said: bytes) -> str:
    """Given what restic said of a repository that it could not look at, return why, as a sentence."""
    repeated = _REPEATED.findall(said.decode(errors="replace"))
    words = repeated[-1].strip().rstrip(".") if repeated else last_words(said)
    # A connection that nobody refuses is given up by restic later than restic is given up here, so it says nothing yet.
    if _NOT_REACHED.search(words) or not said.strip():
        return not_reached(settings, words if said.strip() else "it gives no answer")
    if "bucket does not exist" in words:
        return f"{settings.repository} cannot be used: {words}; make it at the server"
    if is_sftp(settings):
        return f"{settings.repository} cannot be used ({words}); may the account write there?"
    return f"{settings.repository} does not let this box in ({words}); put {settings.paths.credentials} right"

"""Signing an operator's SSH key for some hours: the hosts trust the authority, not each key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import SSHCertificateBuilder, SSHCertificateType

from hearth.authority.errors import AuthorityError
from hearth.authority.store import load_ssh, random_ssh_serial

MAX_VALID_FOR = timedelta(days=30)
MIN_RSA_BITS = 3072
_CLOCK_SKEW = timedelta(minutes=5)
_PRINCIPAL = re.compile(r"[a-z_][a-z0-9_-]{0,31}")  # a Debian account's name
# Nothing else: no agent, no X11, no ~/.ssh/rc. PROTOCOL.certkeys of OpenSSH.
_EXTENSIONS = (b"permit-port-forwarding", b"permit-pty")


def sign_ssh_user_key(
    folder: Path,
    passphrase: bytes,
    public_key_line: str,
    principals: Sequence[str],
    valid_for: timedelta,
    key_id: str,
    now: datetime | None = None,
) -> str:
    """Sign the OpenSSH public key ``public_key_line``; return the user certificate as one line with a line end.

    ``principals``: the accounts it may log in to. ``key_id``: what the host's log shows. Valid from five minutes before
    ``now`` for ``valid_for`` after it, at most 30 days. Raises ``AuthorityError`` for a key that is neither ed25519 nor
    RSA of 3072 bits, for anything that is not one public key, for no or odd principals, and for a longer time.
    """
    now = now or datetime.now(UTC)
    key = _checked_key(public_key_line)
    if not principals or not all(_PRINCIPAL.fullmatch(principal) for principal in principals):
        raise AuthorityError("an SSH certificate needs the accounts it is for, each as a plain account name")
    if not timedelta(0) < valid_for <= MAX_VALID_FOR:
        raise AuthorityError(f"an SSH certificate is valid for at most {MAX_VALID_FOR.days} days: ask for less")
    builder = (
        SSHCertificateBuilder()
        .public_key(key)
        .serial(random_ssh_serial())
        .type(SSHCertificateType.USER)
        .key_id(key_id.encode())
        .valid_principals([principal.encode() for principal in principals])
        .valid_after(int((now - _CLOCK_SKEW).timestamp()))
        .valid_before(int((now + valid_for).timestamp()))
    )
    for extension in _EXTENSIONS:
        builder = builder.add_extension(extension, b"")
    line = builder.sign(load_ssh(folder, passphrase)).public_bytes().decode()
    comment = " ".join(public_key_line.split()[2:])
    return f"{line} {comment}".rstrip() + "\n"


def _checked_key(line: str) -> ed25519.Ed25519PublicKey | rsa.RSAPublicKey:
    if "PRIVATE KEY" in line:
        raise AuthorityError("this is a private key, keep it to yourself: give the file that ends in .pub")
    if len(line.strip().splitlines()) != 1:
        raise AuthorityError("an SSH public key is one line: give the file that ends in .pub")
    if "-cert-v0" in line.split(maxsplit=1)[0]:  # cryptography would read the key inside
        raise AuthorityError("this is a certificate already: give the key that it is for, the .pub file without -cert")
    try:
        key = serialization.load_ssh_public_key(line.strip().encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuthorityError("this is not an OpenSSH public key: give the file that ends in .pub") from error
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return key
    raise AuthorityError(f"only ed25519 and RSA keys of {MIN_RSA_BITS} bits or more are signed: ssh-keygen -t ed25519")

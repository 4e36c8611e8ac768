"""OpenSSH public keys: which are accepted, and what is wrong with the others."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

RSA_BITS_MINIMUM = 3072
_PEOPLE = {"ssh-ed25519": Ed25519PublicKey, "ssh-rsa": RSAPublicKey}
_HOSTS = _PEOPLE | {f"ecdsa-sha2-nistp{bits}": EllipticCurvePublicKey for bits in (256, 384, 521)}
_WANTED = f"use an ed25519 key (ssh-keygen -t ed25519) or RSA of at least {RSA_BITS_MINIMUM} bits"


def blob(key: str) -> str:
    """The base64 part of a public key line: what makes two keys the same, whatever their comments say."""
    return key.split()[1]


def fingerprint(key: str) -> str:
    """The fingerprint of a public key line, as ``ssh-keygen -l`` shows it."""
    digest = hashlib.sha256(base64.b64decode(blob(key))).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


@lru_cache(maxsize=65536)
def key_fault(key: str, of_host: bool = False) -> str | None:
    """What is wrong with a public key line, as a sentence, or None when it is accepted.

    ``of_host``: a host's own key, which may be ECDSA too: it is what the host has on its first day.
    """
    return next(_key_faults(key, _HOSTS if of_host else _PEOPLE), None)


def _key_faults(key: str, accepted: Mapping[str, type[object]]) -> Iterator[str]:
    """Yield what is wrong, the plainest first; each check relies on the ones before, so only the first find counts."""
    words = key.split()
    if not words or key != key.strip():
        yield "the SSH key is empty or has spaces around it; give one line as in a .pub file"
    if "PRIVATE KEY" in key:
        yield "this is a private key; give the public one, the content of the .pub file"
    kind = words[0]
    if "-cert-v01@" in kind:
        yield "this is an SSH certificate; give the plain public key it was made for"
    if kind not in accepted:
        if any(word in accepted or word.startswith(("ssh-", "ecdsa-", "sk-")) for word in words[1:]):
            yield "something stands in front of the SSH key; hearth sets the options itself: give the bare .pub line"
        if kind.startswith(("ssh-", "ecdsa-", "sk-")):
            yield f"SSH keys of the type {kind[:40]} are not accepted; {_WANTED}"
        yield f"this is no OpenSSH public key; give the content of a .pub file, and {_WANTED}"
    try:
        public = load_ssh_public_key(" ".join(words[:2]).encode())
    except (ValueError, UnsupportedAlgorithm):
        yield "this SSH key is damaged or cut off; copy the whole line of the .pub file"
    if not isinstance(public, accepted[kind]):
        yield f"this SSH key says {kind} but is another type; copy the whole line of the .pub file"
    if isinstance(public, RSAPublicKey) and public.key_size < RSA_BITS_MINIMUM:
        yield f"this RSA key has {public.key_size} bits; {_WANTED}"

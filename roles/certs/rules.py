"""When a box needs what: pure functions from the state of its TLS files to a reason, or None."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from roles.certs.facts import TlsState

_MODES = {"key.pem": "600 root:root", "csr.pem": "644 root:root", "certificate.pem": "644 root:root"}
_LEFT_AT_LEAST = 1 / 3  # of a certificate's life; Let's Encrypt's own advice
_SLACK = timedelta(days=1)


def incomplete(state: TlsState, names: Sequence[str]) -> str | None:
    """Why the box must (again) make its key, its request or a bridging certificate, or None."""
    reason = None
    if state.public_key is None:
        reason = "the key is missing or damaged"
    elif state.request is None:
        reason = "the request is missing or damaged"
    elif state.request.names != set(names):
        reason = "the request is for other names"
    elif state.request.public_key != state.public_key:
        reason = "the request is not the key's"
    elif state.certificate is None:
        reason = "the certificate is missing or damaged"
    elif state.certificate.public_key != state.public_key:
        reason = "the certificate is not the key's"
    elif state.modes != _MODES:
        reason = "a file's mode or owner is wrong"
    return reason


def needs(state: TlsState, names: Sequence[str], ca_key_id: str, lifetime: timedelta, now: datetime) -> str | None:
    """Why the box needs a new certificate, or None.

    ``names``: those of the inventory. ``ca_key_id``: the fleet's root (hex), see ``hearth.authority.tls_ca_key_id``.
    ``lifetime``: what a new certificate would get; one that ends clearly later was signed under an older rule.
    """
    certificate, reason = state.certificate, None
    if certificate is None or state.public_key is None:
        reason = "there is none"
    elif certificate.public_key != state.public_key:
        reason = "the key is another"
    elif certificate.names != set(names):
        reason = "the names are others"
    elif certificate.issuer_key_id != ca_key_id:
        reason = "the fleet's authority did not sign it"
    elif certificate.end - now < (certificate.end - certificate.start) * _LEFT_AT_LEAST:
        reason = "less than a third of its life is left"
    elif certificate.end - now > lifetime + _SLACK:
        reason = "it lives longer than the fleet's certificates shall"
    return reason


def unserved(state: TlsState) -> bool:
    """Whether Apache runs with the certificate's site, but answers with something else than it shall."""
    wanted = state.managed or state.certificate
    if wanted is None or not state.apache_uses_it:
        return False
    return state.served is None or state.served.fingerprint != wanted.fingerprint

"""What a box's TLS files are: one fact, read by one command that never prints a private key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from typing_extensions import override

from hearth.authority import key_id

_SCRIPT = Path(__file__).parent / "files" / "tls-state"


@dataclass(frozen=True)
class Request:
    """The certificate signing request on the box: its text, its names, its public key (SPKI, DER)."""

    pem: bytes
    names: frozenset[str]
    public_key: bytes


@dataclass(frozen=True)
class Certificate:
    """A certificate on the box. ``issuer_key_id`` names the signing key; ``fingerprint`` is SHA-256; both hex."""

    names: frozenset[str]
    public_key: bytes
    issuer_key_id: str | None
    start: datetime
    end: datetime
    fingerprint: str


@dataclass(frozen=True)
class TlsState:
    """Everything about a box's TLS files; on a bare host nothing is there.

    ``modes``: file name to mode and owner, as in ``600 root:root``. ``public_key``: of the private key (SPKI, DER).
    ``managed``: what mod_md has got by ACME, None without an ACME server or before the first time.
    ``apache_uses_it``: Apache runs and a site of it names the certificate; ``served``: what it then answers with on
    port 443, whoever issued it, None when it does not answer.
    """

    modes: dict[str, str] = field(default_factory=dict)
    public_key: bytes | None = None
    request: Request | None = None
    certificate: Certificate | None = None
    managed: Certificate | None = None
    apache_uses_it: bool = False
    served: Certificate | None = None


class TlsFiles(FactBase[TlsState]):
    """The box's ``TlsState``, asking Apache for ``domain``."""

    default = TlsState

    @override
    def command(self, domain: str) -> StringCommand:
        return StringCommand("sh", "-c", QuoteString(_SCRIPT.read_text()), "hearth-tls-state", QuoteString(domain))

    @override
    def process(self, output: list[str]) -> TlsState:
        try:
            return parse_state(output)
        except (ValueError, UnsupportedAlgorithm) as fault:
            raise FactProcessError(f"the TLS files in /etc/hearth/tls cannot be read: {fault}") from fault


def parse_state(lines: Iterable[str]) -> TlsState:
    """Given the output of files/tls-state, return the state; raises ValueError on what is not its output."""
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines:
        if line.startswith("== "):
            current = sections.setdefault(line.removeprefix("== "), [])
        elif current is None:
            raise ValueError(f"unexpected line {line!r}")
        else:
            current.append(line)

    def pem(section: str) -> bytes | None:
        """The section's PEM, or None where openssl found nothing that it could read."""
        text = sections.get(section)
        return "\n".join([*text, ""]).encode() if text else None

    def certificate(section: str) -> Certificate | None:
        text = pem(section)
        return _certificate(text) if text else None

    key, request = pem("key"), pem("request")
    return TlsState(
        modes=dict(_mode(line) for line in sections.get("files", [])),
        public_key=_spki(serialization.load_pem_public_key(key)) if key else None,
        request=_request(request) if request else None,
        certificate=certificate("certificate"),
        managed=certificate("managed"),
        apache_uses_it="served" in sections,
        served=certificate("served"),
    )


def _mode(line: str) -> tuple[str, str]:
    name, space, mode = line.partition(" ")
    if not space:
        raise ValueError(f"unexpected line {line!r}")
    return name, mode


def _request(pem: bytes) -> Request:
    csr = x509.load_pem_x509_csr(pem)
    return Request(pem, _names(csr.extensions), _spki(csr.public_key()))


def _certificate(pem: bytes) -> Certificate:
    certificate = x509.load_pem_x509_certificate(pem)
    return Certificate(
        names=_names(certificate.extensions),
        public_key=_spki(certificate.public_key()),
        issuer_key_id=key_id(certificate),
        start=certificate.not_valid_before_utc,
        end=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _names(extensions: x509.Extensions) -> frozenset[str]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(names.get_values_for_type(x509.DNSName))


def _spki(key: object) -> bytes:
    if not hasattr(key, "public_bytes"):
        raise ValueError("a key of an unknown kind")
    public: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return public

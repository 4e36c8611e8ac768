"""Signing a box's certificate request: everything that the certificate says comes from the inventory, not from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from hearth.authority.errors import AuthorityError
from hearth.authority.store import CLOCK_SKEW, load_tls, root_key_id

MIN_RSA_BITS = 3072
_COMMON_NAME_CHARACTERS = 64  # RFC 5280, upper bounds
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_DAMAGE = (ValueError, TypeError, UnsupportedAlgorithm)  # what cryptography raises for rubbish


def sign_tls(
    folder: Path,
    passphrase: bytes,
    csr_pem: bytes,
    names: Sequence[str],
    lifetime: timedelta,
    now: datetime | None = None,
) -> bytes:
    """Sign the request ``csr_pem`` for exactly the DNS ``names``; return the certificate as PEM.

    ``folder`` and ``passphrase``: the private authority. The certificate is valid from an hour before ``now`` (clocks
    differ) for ``lifetime`` after it, but never beyond the root's own end. Raises ``AuthorityError`` when the request
    is damaged, asks for other names, has a weak key or a signature that does not verify, and when the root has ended.
    """
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    key = _checked_key(csr_pem, names)
    if lifetime <= timedelta(0):
        raise AuthorityError("a certificate's lifetime must be longer than nothing: mend certificates.lifetime_days")
    root, root_key = load_tls(folder, passphrase)
    if now >= root.not_valid_after_utc:
        raise AuthorityError(
            f"the fleet's authority ended on {root.not_valid_after_utc:%Y-%m-%d}: make a new one (docs/certificates.md)"
        )
    subject = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])] if len(names[0]) <= _COMMON_NAME_CHARACTERS else []
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(root.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - CLOCK_SKEW, root.not_valid_before_utc))
        .not_valid_after(min(now + lifetime, root.not_valid_after_utc))
        # RFC 5280, 4.2.1.6: critical when the subject is empty.
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=not list(subject))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_digital_signature_only(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier(
                root_key_id(root), authority_cert_issuer=None, authority_cert_serial_number=None
            ),
            critical=False,
        )
        .sign(root_key, hashes.SHA384())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_id(certificate: x509.Certificate) -> str | None:
    """The identifier (hex) of the key that signed ``certificate``, or None when it does not say."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    identifier = extension.value.key_identifier
    return identifier.hex() if identifier else None


def _checked_key(csr_pem: bytes, names: Sequence[str]) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """The request's public key, when the request is sound and asks for exactly ``names``."""
    if not names:
        raise AuthorityError("a certificate needs at least one name: give the household a domain")
    try:
        csr = x509.load_pem_x509_csr(csr_pem)
        valid, key, asked = csr.is_signature_valid, csr.public_key(), _asked_names(csr)
    except _DAMAGE as error:
        raise AuthorityError(
            "the certificate request is damaged: remove /etc/hearth/tls/csr.pem on the box and converge again"
        ) from error
    if not valid:
        raise AuthorityError("the certificate request's signature does not verify: was it changed on its way?")
    if asked != set(names):
        raise AuthorityError(
            f"the certificate request asks for {_listed(asked)}, but the inventory says {_listed(set(names))}: "
            "only the inventory's names are signed"
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return key
    raise AuthorityError(
        "the certificate request's key is too weak or of a kind that is not signed: use ECDSA P-256, P-384, or RSA of "
        f"{MIN_RSA_BITS} bits or more"
    )


def _asked_names(csr: x509.CertificateSigningRequest) -> set[str]:
    """Every name the request asks for, in its subject and its alternative names, of whatever kind."""
    asked = {str(attribute.value) for attribute in csr.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)}
    try:
        alternative = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return asked
    return asked | {name.value if isinstance(name, x509.DNSName) else repr(name) for name in alternative}


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "no name"


def _digital_signature_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )

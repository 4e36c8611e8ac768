"""Signing a box's request: what the certificate says, and every request that is refused."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hearth import authority
from hearth.authority import AuthorityError

NAME = "mueller.home.example"
DAYS_90 = timedelta(days=90)
KEY = ec.generate_private_key(ec.SECP256R1())
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def request(*names: x509.GeneralName | str, key: Key = KEY, common_name: str | None = None) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        alternative = [x509.DNSName(name) if isinstance(name, str) else name for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def test_openssl_and_cryptography_trust_what_the_authority_signs(
    private: Path, public: Path, passphrase: bytes, tmp_path: Path
) -> None:
    leaf = authority.sign_tls(private, passphrase, request(NAME), [NAME], DAYS_90)
    (tmp_path / "leaf.pem").write_bytes(leaf)
    options = ["-x509_strict", "-purpose", "sslserver", "-CAfile", str(public / "tls-ca.pem")]
    for name, status in ((NAME, 0), ("other.home.example", 2)):
        command = ["openssl", "verify", *options, "-verify_hostname", name, str(tmp_path / "leaf.pem")]
        assert subprocess.run(command, capture_output=True, check=False).returncode == status
    certificate = x509.load_pem_x509_certificate(leaf)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((public / "tls-ca.pem").read_bytes()))
    assert certificate.public_key() == KEY.public_key()
    assert authority.key_id(certificate) == authority.tls_ca_key_id(public / "tls-ca.pem")


def test_a_certificate_serves_and_does_nothing_else(private: Path, passphrase: bytes) -> None:
    now = datetime(2027, 1, 1, 12, tzinfo=UTC)
    leaves = [
        x509.load_pem_x509_certificate(authority.sign_tls(private, passphrase, request(NAME), [NAME], DAYS_90, now=now))
        for _ in range(2)
    ]
    extensions = leaves[0].extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert (usage.digital_signature, usage.key_cert_sign, usage.key_encipherment) == (True, False, False)
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert leaves[0].not_valid_before_utc == now - timedelta(hours=1)
    assert leaves[0].not_valid_after_utc == now + DAYS_90
    assert leaves[0].serial_number != leaves[1].serial_number


def test_the_names_are_those_of_the_inventory(private: Path, passphrase: bytes) -> None:
    names = ["a.example", "b.example", f"{'long-' * 11}x.{'y' * 60}.example"]
    leaf = authority.sign_tls(private, passphrase, request(*reversed(names)), names, DAYS_90)
    alternative = x509.load_pem_x509_certificate(leaf).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert alternative.value.get_values_for_type(x509.DNSName) == names


def test_a_name_too_long_for_a_subject_stands_in_a_critical_extension(private: Path, passphrase: bytes) -> None:
    name = f"{'y' * 60}.home.example"
    certificate = x509.load_pem_x509_certificate(
        authority.sign_tls(private, passphrase, request(name), [name], DAYS_90)
    )
    assert list(certificate.subject) == []
    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_no_certificate_outlives_the_root(private: Path, public: Path, passphrase: bytes) -> None:
    end = x509.load_pem_x509_certificate((public / "tls-ca.pem").read_bytes()).not_valid_after_utc
    leaf = authority.sign_tls(private, passphrase, request(NAME), [NAME], DAYS_90, now=end - timedelta(days=3))
    assert x509.load_pem_x509_certificate(leaf).not_valid_after_utc == end
    with pytest.raises(AuthorityError, match="ended on"):
        authority.sign_tls(private, passphrase, request(NAME), [NAME], DAYS_90, now=end)


def tampered() -> bytes:
    """A sound request with a flipped bit in its signature, which is the end of its DER."""
    der = bytearray(x509.load_pem_x509_csr(request(NAME)).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("csr", "sentence"),
    [
        (request("schmidt.home.example"), "asks for schmidt.home.example, but the inventory says"),
        (request(NAME, "schmidt.home.example"), "asks for"),
        (request(f"*.{NAME}"), "asks for"),
        (request(NAME, common_name="bank.example"), "asks for bank.example"),
        (request(NAME, x509.RFC822Name("a@bank.example")), "asks for"),
        (request(), "asks for no name"),
        (tampered(), "signature does not verify"),
        (request(NAME, key=ec.generate_private_key(ec.SECP192R1())), "too weak"),
        (request(NAME, key=rsa.generate_private_key(65537, 2048)), "too weak"),
        (request(NAME, key=ed25519.Ed25519PrivateKey.generate()), "too weak or of a kind"),
        (b"", "damaged"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "damaged"),
        (request(NAME)[:200], "damaged"),
        (b"\xff\x00" * 500, "damaged"),
    ],
)
def test_a_request_is_refused_with_a_sentence(private: Path, passphrase: bytes, csr: bytes, sentence: str) -> None:
    with pytest.raises(AuthorityError, match=sentence) as refusal:
        authority.sign_tls(private, passphrase, csr, [NAME], DAYS_90)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 3072)])
def test_other_strong_keys_are_signed(private: Path, passphrase: bytes, key: Key) -> None:
    assert authority.sign_tls(private, passphrase, request(NAME, key=key), [NAME], DAYS_90)


def test_nothing_is_signed_without_names_or_lifetime(private: Path, passphrase: bytes) -> None:
    with pytest.raises(AuthorityError, match="at least one name"):
        authority.sign_tls(private, passphrase, request(), [], DAYS_90)
    with pytest.raises(AuthorityError, match="lifetime"):
        authority.sign_tls(private, passphrase, request(NAME), [NAME], timedelta(0))


def test_a_wrong_passphrase_and_a_missing_or_foreign_key_are_told_apart(
    private: Path, passphrase: bytes, tmp_path: Path
) -> None:
    def sign(folder: Path, passphrase: bytes) -> None:
        authority.sign_tls(folder, passphrase, request(NAME), [NAME], DAYS_90)

    with pytest.raises(AuthorityError, match="the passphrase is wrong"):
        sign(private, b"wrong horse battery")
    with pytest.raises(AuthorityError, match="not on this machine"):
        sign(tmp_path / "nowhere", passphrase)
    mixed = tmp_path / "mixed"
    shutil.copytree(private, mixed)
    authority.init(tmp_path / "other", tmp_path / "public", "other", "other.example", passphrase)
    shutil.copy(tmp_path / "other" / "tls-ca.key", mixed)
    with pytest.raises(AuthorityError, match="is not the key of"):
        sign(mixed, passphrase)

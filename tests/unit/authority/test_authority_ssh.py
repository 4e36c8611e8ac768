"""Signing operators' SSH keys."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from hearth import authority
from hearth.authority import AuthorityError

HOURS_8 = timedelta(hours=8)


def line(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{public.decode()} anna@pc\n"


ED25519 = line(ed25519.Ed25519PrivateKey.generate())


@pytest.mark.parametrize("key", [ED25519, line(rsa.generate_private_key(65537, 3072))], ids=["ed25519", "rsa"])
def test_ssh_keygen_reads_exactly_what_was_granted(
    private: Path, public: Path, passphrase: bytes, tmp_path: Path, key: str
) -> None:
    now = datetime(2027, 1, 1, 12, tzinfo=UTC)
    certificate = authority.sign_ssh_user_key(private, passphrase, key, ["anna"], HOURS_8, "anna of example", now=now)
    assert certificate.endswith(" anna@pc\n")
    file = tmp_path / "id-cert.pub"
    file.write_text(certificate)
    environment = {"TZ": "UTC", "PATH": "/usr/bin"}
    shown = subprocess.run(
        ["ssh-keygen", "-L", "-f", str(file)], capture_output=True, text=True, check=True, env=environment
    ).stdout
    root = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(public / "ssh-user-ca.pub")], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    words = " ".join(shown.split())
    assert "user certificate" in words
    assert f"Signing CA: ED25519 {root}" in words
    assert 'Key ID: "anna of example"' in words
    assert "Valid: from 2027-01-01T11:55:00 to 2027-01-01T20:00:00" in words
    assert "Principals: anna Critical Options: (none)" in words
    assert words.endswith("Extensions: permit-port-forwarding permit-pty")


def test_two_certificates_have_two_serial_numbers(private: Path, passphrase: bytes) -> None:
    serials = set()
    for _ in range(2):
        text = authority.sign_ssh_user_key(private, passphrase, ED25519, ["anna"], HOURS_8, "x")
        identity = serialization.load_ssh_public_identity(text.strip().encode())
        assert isinstance(identity, serialization.SSHCertificate)
        serials.add(identity.serial)
    assert len(serials) == 2


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (line(rsa.generate_private_key(65537, 2048)), "3072 bits or more"),
        (line(ec.generate_private_key(ec.SECP256R1())), "only ed25519"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNza\n", "private key, keep it"),
        ("", "one line"),
        (ED25519 * 2, "one line"),
        ("ssh-ed25519 rubbish", "not an OpenSSH public key"),
        ("ä", "not an OpenSSH public key"),
    ],
    ids=range(7),
)
def test_other_keys_are_refused(private: Path, passphrase: bytes, key: str, sentence: str) -> None:
    with pytest.raises(AuthorityError, match=sentence):
        authority.sign_ssh_user_key(private, passphrase, key, ["anna"], HOURS_8, "x")


def test_a_certificate_is_not_signed_again(private: Path, passphrase: bytes) -> None:
    certificate = authority.sign_ssh_user_key(private, passphrase, ED25519, ["anna"], HOURS_8, "x")
    with pytest.raises(AuthorityError, match="certificate already"):
        authority.sign_ssh_user_key(private, passphrase, certificate, ["anna"], HOURS_8, "x")


@pytest.mark.parametrize("valid_for", [timedelta(0), timedelta(hours=-1), timedelta(days=30, seconds=1)])
def test_no_certificate_lasts_longer_than_thirty_days(private: Path, passphrase: bytes, valid_for: timedelta) -> None:
    with pytest.raises(AuthorityError, match="30 days"):
        authority.sign_ssh_user_key(private, passphrase, ED25519, ["anna"], valid_for, "x")


@pytest.mark.parametrize("principals", [[], [""], ["anna,root"], ["anna", "a b"], ["*"], ["an\nna"]])
def test_odd_accounts_are_refused(private: Path, passphrase: bytes, principals: list[str]) -> None:
    with pytest.raises(AuthorityError, match="plain account name"):
        authority.sign_ssh_user_key(private, passphrase, ED25519, principals, HOURS_8, "x")

"""Which SSH keys are accepted, and what is no secret although it looks random. The refusals are in the corpus."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hearth.inventory.keys import blob, key_fault
from hearth.inventory.secrets import secret_faults

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMIvScik939+AuX714xMbrQJMOfQtSEVEM3CbJtNkYb"


def _line(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def test_ed25519_is_accepted_with_and_without_a_comment() -> None:
    assert key_fault(ED25519) is None
    assert key_fault(f"{ED25519} anna at her laptop") is None


@pytest.mark.parametrize(("bits", "accepted"), [(2048, False), (3072, True)])
def test_rsa_is_accepted_from_3072_bits(bits: int, accepted: bool) -> None:
    line = _line(rsa.generate_private_key(65537, bits).public_key())

    assert (key_fault(line) is None) == accepted


def test_ecdsa_is_a_hosts_key_but_no_persons_key() -> None:
    line = _line(ec.generate_private_key(ec.SECP256R1()).public_key())

    assert key_fault(line, of_host=True) is None
    assert "not accepted" in (key_fault(line) or "")


def test_two_keys_are_the_same_whatever_their_comments_say() -> None:
    assert blob(f"{ED25519} anna") == blob(f"{ED25519}  somebody else")


@pytest.mark.parametrize(
    "line",
    [
        f"key: {ED25519} oma",
        f"# {ED25519}",
        'sha256: "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"',
        "url: https://github.com/owncloud/core/releases/download/v11.0.0/owncloud-complete-20260730A1b2C3d4.tar.bz2",
        "# No password stands here: the box makes its own",
        "display_name: Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamter",
        "passphrase_file: ~/.config/hearth/passphrase",
        "dns_key: 512 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
        "upload_limit: 3000M",
        "domain: a-very-long-name-of-a-household-in-the-country.home.example",
    ],
)
def test_what_is_public_is_no_secret(line: str) -> None:
    assert secret_faults(line.encode(), Path("x.yaml")) == []


def test_a_machines_long_paths_are_no_secret() -> None:
    line = b"identity: /home/anna/Fleets/2026/q7Jx0vTz4mKp9wRb2sYc6uNd8fGh1aLe3iOk5tXQ/key"

    assert secret_faults(line, Path("local.yaml"), machine_paths=True) == []
    assert secret_faults(line, Path("fleet.yaml"))


# Beyond ASCII, letters stand for others when case is ignored: a long s, a Kelvin sign, an i with a dot and one without.
@pytest.mark.parametrize("name", ["paſſword", "PAſSWD", "to\N{KELVIN SIGN}en", "prİvate-key", "credentıal", "ApI_KEY"])  # noqa: RUF001
def test_a_secrets_name_is_known_however_its_letters_are_written(name: str) -> None:
    (fault,) = secret_faults(f"ä: 1\n{name}: hunter2\n".encode(), Path("x.yaml"))

    assert (fault.line, "names a secret" in fault.sentence) == (2, True)


@pytest.mark.parametrize(
    "text",
    [
        *(f"{before}_0123456789abcdef" for before in ("gho", "ghp", "ghs", "ghu", "ghr", "github_pat")),
        *(f"{before}-0123456789abcdef" for before in ("glpat", "xoxa", "xoxb", "xoxp", "xoxr", "xoxs")),
        *("AKIAABCDEFGH01234567", "ASIAABCDEFGH01234567", "eyJhbGciOiJI.eyJzdWIiOiIx", "imap://anna:hunter2@mail"),
        *("$2b$05$abcdefgh", "$6$abcdefgh", "$argon2id$", "PuTTY-User-Key-File", "-----BEGIN EC PRIVATE KEY"),
    ],
)
def test_what_services_and_programs_mark_as_a_secret_is_known(text: str) -> None:
    (fault,) = secret_faults(f"display_name: {text}\n".encode(), Path("x.yaml"))

    assert fault.line == 1

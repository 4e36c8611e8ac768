"""Making the authority: what it is, where it lies, and that it is never overwritten nor published."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from hearth import authority
from hearth.authority import AuthorityError
from hearth.authority import store as authority_store

FILES = {"tls-ca.key", "tls-ca.pem", "ssh-user-ca.key", "ssh-user-ca.pub"}


def make(folder: Path, public: Path, passphrase: bytes = b"correct horse battery") -> None:
    authority.init(folder, public, "example", "home.example", passphrase)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_the_private_halves_are_for_their_owner_alone_and_the_public_ones_for_all(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make(tmp_path / "loose", tmp_path / "public-1")
        os.umask(0o077)
        make(tmp_path / "strict", tmp_path / "public-2")
    finally:
        os.umask(before)
    for private, public in (("loose", "public-1"), ("strict", "public-2")):
        assert mode(tmp_path / private) == 0o700
        assert mode(tmp_path / private / "tls-ca.key") == mode(tmp_path / private / "ssh-user-ca.key") == 0o600
        assert {file.name for file in (tmp_path / public).iterdir()} == {"tls-ca.pem", "ssh-user-ca.pub"}
        assert all(mode(file) == 0o644 for file in (tmp_path / public).iterdir())


def test_the_private_keys_are_encrypted_and_open_with_the_passphrase_only(private: Path, passphrase: bytes) -> None:
    for name in ("tls-ca.key", "ssh-user-ca.key"):
        text = (private / name).read_bytes()
        command = ["ssh-keygen", "-y", "-f", str(private / name), "-P"]
        assert b"OPENSSH PRIVATE KEY" in text
        assert subprocess.run([*command, ""], capture_output=True, check=False).returncode != 0
        assert subprocess.run([*command, passphrase.decode()], capture_output=True, check=False).returncode == 0


def test_a_guess_at_the_passphrase_is_expensive(private: Path) -> None:
    for name in ("tls-ca.key", "ssh-user-ca.key"):
        body = b"".join((private / name).read_bytes().splitlines()[1:-1])
        # PROTOCOL.key of OpenSSH: the magic, then cipher, kdf, its options (salt, rounds), each with its length.
        rest, fields = base64.b64decode(body).removeprefix(b"openssh-key-v1\0"), []
        for _ in range(3):
            length = int.from_bytes(rest[:4], "big")
            fields.append(rest[4 : 4 + length])
            rest = rest[4 + length :]
        assert fields[:2] == [b"aes256-ctr", b"bcrypt"]
        assert int.from_bytes(fields[2][-4:], "big") >= 64


def test_the_root_is_an_authority_for_leaves_only(public: Path) -> None:
    root = x509.load_pem_x509_certificate((public / "tls-ca.pem").read_bytes())
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage).value
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    assert 3650 <= (root.not_valid_after_utc - root.not_valid_before_utc).days <= 3660
    assert authority.tls_ca_key_id(public / "tls-ca.pem") == authority_store.root_key_id(root).hex()
    root.verify_directly_issued_by(root)


def test_ssh_keygen_reads_the_public_half_of_the_ssh_authority(public: Path) -> None:
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(public / "ssh-user-ca.pub")], capture_output=True, text=True, check=True
    )
    assert "(ED25519)" in shown.stdout


def test_a_second_init_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path / "private", tmp_path / "public")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for folder, public in (("private", "public"), ("private", "other"), ("other", "public")):
        with pytest.raises(AuthorityError, match="nothing was changed"):
            make(tmp_path / folder, tmp_path / public)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_init_that_dies_leaves_no_half_of_an_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = authority_store.write_file, iter(range(100))

    def full_disk(path: Path, content: bytes, mode: int) -> None:
        if next(calls) == 2:
            raise OSError(28, "No space left on device", str(path))
        real(path, content, mode)

    monkeypatch.setattr(authority_store, "write_file", full_disk)
    with pytest.raises(AuthorityError, match="No space left on device"):
        make(tmp_path / "private", tmp_path / "public")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    make(tmp_path / "private", tmp_path / "public")
    assert {file.name for file in (tmp_path / "private").iterdir()} == FILES


@pytest.mark.parametrize("passphrase", [b"", b"1234567", b"        "])
def test_a_short_passphrase_is_refused(tmp_path: Path, passphrase: bytes) -> None:
    with pytest.raises(AuthorityError, match="too short"):
        make(tmp_path / "private", tmp_path / "public", passphrase)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("inside", ["authority", "authority/private", "private", "a/b"])
def test_private_keys_may_not_lie_inside_the_inventory(tmp_path: Path, inside: str) -> None:
    (tmp_path / "fleet.yaml").touch()
    with pytest.raises(AuthorityError, match="inside"):
        make(tmp_path / inside, tmp_path / "authority")


def test_a_link_into_the_inventory_is_inside_it(tmp_path: Path) -> None:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "fleet.yaml").touch()
    (tmp_path / "link").symlink_to(tmp_path / "inventory")
    with pytest.raises(AuthorityError, match="inside"):
        make(tmp_path / "link" / "private", tmp_path / "inventory" / "authority")


def test_private_keys_may_lie_in_a_git_work_tree_only_where_it_ignores_them(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("kept-out/\n")
    with pytest.raises(AuthorityError, match="git work tree"):
        make(tmp_path / "private", tmp_path / "public")
    make(tmp_path / "kept-out", tmp_path / "public")
    assert (tmp_path / "kept-out" / "tls-ca.key").exists()

"""The two programs that the certs role puts on the box, and the text that its fact runs there."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from hearth import authority
from hearth.inventory.hosts import Authority
from roles.certs.rules import incomplete, unserved
from tests.unit.roles.certs.box_folder import MODES, NAME, BoxFolder, program


def test_the_key_is_made_once_and_stays_when_the_name_changes(box_folder: BoxFolder) -> None:
    box_folder.make_key()
    first, key = box_folder.state(), (box_folder.tls / "key.pem").read_bytes()
    assert first.public_key is not None
    assert incomplete(replace(first, modes=MODES), [NAME]) is None
    assert (box_folder.tls / "key.pem").stat().st_mode & 0o777 == 0o600
    before = {path.name: path.stat().st_mtime_ns for path in box_folder.tls.glob("*.pem")}
    box_folder.make_key()
    assert {path.name: path.stat().st_mtime_ns for path in box_folder.tls.glob("*.pem")} == before
    box_folder.make_key("other.home.example")
    second = box_folder.state()
    assert (box_folder.tls / "key.pem").read_bytes() == key
    assert second.request is not None
    assert second.request.names == {"other.home.example"}
    assert second.certificate == first.certificate


@pytest.mark.parametrize("damaged", ["key.pem", "csr.pem", "certificate.pem"])
@pytest.mark.parametrize("how", ["missing", "empty", "half"])
def test_whatever_a_crash_left_the_next_run_mends(box_folder: BoxFolder, damaged: str, how: str) -> None:
    box_folder.make_key()
    file = box_folder.tls / damaged
    text = file.read_bytes()
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(text[: len(text) // 2] if how == "half" else b"")
    (box_folder.tls / "key.pem.new").write_bytes(text[:50])
    box_folder.make_key()
    assert incomplete(replace(box_folder.state(), modes=MODES), [NAME]) is None


def test_a_key_that_others_could_read_is_closed_again(box_folder: BoxFolder) -> None:
    box_folder.make_key()
    (box_folder.tls / "key.pem").chmod(0o644)
    box_folder.make_key()
    assert (box_folder.tls / "key.pem").stat().st_mode & 0o777 == 0o600


def test_the_bridge_is_for_the_name_and_no_authority(box_folder: BoxFolder) -> None:
    box_folder.make_key()
    shown = subprocess.run(
        ["openssl", "x509", "-in", str(box_folder.tls / "certificate.pem"), "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"DNS:{NAME}" in shown
    assert "CA:FALSE" in shown
    assert "CA:TRUE" not in shown
    assert "NIST CURVE: P-256" in shown


def test_what_the_fact_prints_never_contains_the_private_key(box_folder: BoxFolder) -> None:
    box_folder.make_key()
    key = (box_folder.tls / "key.pem").read_text()
    (box_folder.tls / "certificate.pem").write_text((box_folder.tls / "certificate.pem").read_text() + key)
    (box_folder.tls / "csr.pem").write_text((box_folder.tls / "csr.pem").read_text() + key)
    printed = box_folder.run("tls-state", NAME).stdout
    assert "== certificate\n-----BEGIN CERTIFICATE-----" in printed
    assert "PRIVATE" not in printed
    assert not any(line in printed for line in key.splitlines()[1:-1])


def test_a_certificate_is_installed_before_apache_has_a_site(box_folder: BoxFolder, root: Authority) -> None:
    box_folder.make_key()
    signed = box_folder.signed(root)
    assert box_folder.install(signed).returncode == 0
    assert (box_folder.tls / "certificate.pem").read_bytes() == signed
    assert {path.name for path in box_folder.tls.iterdir()} == {".lock", "key.pem", "csr.pem", "certificate.pem"}


def test_apache_serves_the_new_certificate_afterwards(serving: BoxFolder, root: Authority) -> None:
    done = serving.install(serving.signed(root))
    assert (done.returncode, done.stderr) == (0, "")
    state = serving.state()
    assert state.certificate is not None
    assert state.served == state.certificate
    assert state.certificate.issuer_key_id == authority.tls_ca_key_id(root.tls_ca)


def test_a_run_killed_before_the_reload_is_finished_by_the_next(serving: BoxFolder, root: Authority) -> None:
    (serving.tls / "certificate.pem").write_bytes(serving.signed(root))
    assert unserved(serving.state())
    assert serving.install().returncode == 0
    assert not unserved(serving.state())


def test_the_old_certificate_serves_again_when_apache_does_not_take_the_new_one(
    serving: BoxFolder, root: Authority
) -> None:
    old, signed = (serving.tls / "certificate.pem").read_bytes(), serving.signed(root)
    (serving.base / "refused.pem").write_bytes(signed)
    done = serving.install(signed)
    assert done.returncode == 1
    assert "the old one serves again" in done.stderr
    assert (serving.tls / "certificate.pem").read_bytes() == old
    assert not unserved(serving.state())


def test_an_apache_that_is_broken_already_does_not_keep_the_certificate_out(
    serving: BoxFolder, root: Authority
) -> None:
    program(serving.base / "bin" / "apache2ctl", "exit 1")
    signed = serving.signed(root)
    done = serving.install(signed)
    assert done.returncode == 0
    assert "was not reloaded" in done.stderr
    assert (serving.tls / "certificate.pem").read_bytes() == signed
    assert unserved(serving.state())


def test_a_wrong_certificate_changes_nothing(serving: BoxFolder, root: Authority, tmp_path: Path) -> None:
    other = BoxFolder(tmp_path / "other", port=1)
    (other.base / "bin").mkdir(parents=True)
    other.make_key()
    signed = serving.signed(root)
    before = (serving.tls / "certificate.pem").read_bytes()
    for staged, name, words in (
        (b"rubbish", NAME, "damaged"),
        (b"", NAME, "damaged"),
        (signed[:300], NAME, "damaged"),
        (signed, "schmidt.home.example", "not for schmidt.home.example"),
        (other.signed(root), NAME, "does not belong to this box's key"),
    ):
        done = serving.install(staged, name)
        assert done.returncode == 1
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert (serving.tls / "certificate.pem").read_bytes() == before
        assert not (serving.tls / "staged").exists()
    assert not unserved(serving.state())

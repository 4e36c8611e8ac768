"""``hearth ca``: what an operator types and reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hearth.commands import authority as command
from hearth.inventory import Fault, InventoryError
from hearth.inventory.hosts import Authority, Fleet
from hearth.inventory.model import Certificates, Operator


@pytest.fixture(autouse=True)
def fleet_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator's machine with a fleet in ``fleet/`` and a passphrase in a file; loading is tested elsewhere."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    (folder / "fleet.yaml").touch()
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery\n")
    passphrase.chmod(0o600)
    state = tmp_path / "state"

    def load(asked: Path) -> Fleet:
        public = folder / "authority"
        root = None
        if (public / "tls-ca.pem").exists():
            line = (public / "ssh-user-ca.pub").read_text()
            root = Authority(public / "tls-ca.pem", line, state / "hearth" / "authority" / "example", passphrase)
        return Fleet(
            name="example",
            zone="home.example",
            time_zone="Europe/Berlin",
            folder=asked,
            operators=(Operator("anna"),),
            helpers=(),
            relays=(),
            pis=(),
            certificates=Certificates(),
            releases=(),
            households=(),
            authority=root,
        )

    monkeypatch.setattr(command, "load_or_raise", load)
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setattr(sys.modules["hearth.authority.passphrase"], "_known", {})
    return folder


def hearth_ca(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(command.app, [*words, "--inventory", str(folder)])


def made(folder: Path, *more: str) -> Result:
    return hearth_ca(folder, "init", "--passphrase-file", str(folder.parent / "passphrase"), *more)


def test_init_then_show_then_sign(fleet_folder: Path, tmp_path: Path) -> None:
    first = made(fleet_folder)
    assert first.exit_code == 0, first.output
    assert str(tmp_path / "state/hearth/authority/example") in first.output
    assert "local.yaml" not in first.output
    shown = hearth_ca(fleet_folder, "show").output
    root = fleet_folder / "authority" / "tls-ca.pem"
    fingerprint = subprocess.run(
        ["openssl", "x509", "-in", str(root), "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert fingerprint.partition("=")[2] in shown
    assert "(on this machine)" in shown

    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id_ed25519")], check=True)
    signed = hearth_ca(fleet_folder, "ssh-sign", str(tmp_path / "id_ed25519.pub"), "--as", "anna")
    assert signed.exit_code == 0, signed.output
    listed = subprocess.run(
        ["ssh-keygen", "-L", "-f", str(tmp_path / "id_ed25519-cert.pub")], capture_output=True, text=True, check=True
    ).stdout
    assert "anna" in listed
    assert "anna of example, signed 20" in listed
    for output in (first.output, shown, signed.output):
        assert "correct horse" not in output


def test_another_folder_has_to_be_told_to_hearth(fleet_folder: Path, tmp_path: Path) -> None:
    result = made(fleet_folder, "--folder", str(tmp_path / "elsewhere"))
    assert f"authority:\n  folder: {tmp_path / 'elsewhere'}\n" in result.output
    assert (tmp_path / "elsewhere" / "tls-ca.key").exists()


def test_local_yaml_says_where_the_keys_shall_lie(fleet_folder: Path, tmp_path: Path) -> None:
    (fleet_folder / "local.yaml").write_text("authority:\n  folder: ../named\n")
    assert made(fleet_folder).exit_code == 0
    assert (tmp_path / "named" / "tls-ca.key").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show"], "make it with `hearth ca init`"),
        (["ssh-sign", "x.pub", "--as", "anna"], "make it with `hearth ca init`"),
        (["ssh-sign", "x.pub", "--as", "anma"], "anma is no operator of the fleet: choose one of anna"),
        (["init"], "nobody is at a terminal"),
        (["init", "--passphrase-file", "/nowhere"], "/nowhere"),
    ],
)
def test_a_refusal_is_one_sentence_and_exit_status_1(fleet_folder: Path, words: list[str], sentence: str) -> None:
    result = hearth_ca(fleet_folder, *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("valid", ["8", "h", "0h", "-1h", "1.5h", "31d", "8h8h"])
def test_a_wrong_time_is_refused(fleet_folder: Path, tmp_path: Path, valid: str) -> None:
    made(fleet_folder)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], check=True)
    result = hearth_ca(fleet_folder, "ssh-sign", str(tmp_path / "id.pub"), "--as", "anna", f"--valid={valid}")
    assert result.exit_code == 1
    assert not (tmp_path / "id-cert.pub").exists()


def test_a_file_that_is_no_key_is_refused(fleet_folder: Path, tmp_path: Path) -> None:
    made(fleet_folder)
    (tmp_path / "picture.pub").write_bytes(b"\x89PNG\xff\xfe")
    for name in ("picture.pub", "nowhere.pub"):
        result = hearth_ca(fleet_folder, "ssh-sign", str(tmp_path / name), "--as", "anna")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_an_invalid_inventory_stops_before_any_key_is_made(
    fleet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path) -> Fleet:
        raise InventoryError([Fault(folder / "fleet.yaml", 3, 1, "name is missing")])

    monkeypatch.setattr(command, "load_or_raise", broken)
    result = made(fleet_folder)
    assert (result.exit_code, "fleet.yaml:3:1: name is missing" in result.stderr) == (1, True)
    assert not (tmp_path / "state").exists()

"""Where the passphrase comes from."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import pytest

from hearth import authority
from hearth.authority import AuthorityError
from hearth.inventory.hosts import Authority

module = sys.modules["hearth.authority.passphrase"]


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is a process of its own: nothing cached, nothing in the environment, nobody at a terminal."""
    monkeypatch.setattr(module, "_known", {})
    monkeypatch.delenv("HEARTH_AUTHORITY_PASSPHRASE_FILE", raising=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)


def fleet(private: Path, file: Path | None = None) -> Authority:
    return Authority(private.parent / "public" / "tls-ca.pem", "", private, file)


def written(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    file = tmp_path / "passphrase"
    file.write_text(text)
    file.chmod(mode)
    return file


def typing(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    waiting = list(answers)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: waiting.pop(0))
    return waiting


@pytest.mark.parametrize("text", ["correct horse battery\n", "correct horse battery\r\n", "correct horse battery"])
def test_the_first_line_of_the_file_is_the_passphrase(private: Path, tmp_path: Path, text: str) -> None:
    assert authority.passphrase(fleet(private, written(tmp_path, text))) == b"correct horse battery"


def test_the_environment_may_name_the_file(private: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEARTH_AUTHORITY_PASSPHRASE_FILE", str(written(tmp_path, "from the environment\n")))
    assert authority.passphrase(fleet(private)) == b"from the environment"


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [("secret phrase", 0o644, "open to others"), ("secret phrase", 0o620, "open to others"), ("\nx", 0o600, "empty")],
)
def test_a_careless_file_is_refused_without_showing_it(
    private: Path, tmp_path: Path, text: str, mode: int, sentence: str
) -> None:
    with pytest.raises(AuthorityError, match=sentence) as refusal:
        authority.passphrase(fleet(private, written(tmp_path, text, mode)))
    assert "secret phrase" not in str(refusal.value)


def test_a_missing_file_is_named(private: Path, tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match="nowhere"):
        authority.passphrase(fleet(private, tmp_path / "nowhere"))


def test_without_a_file_and_a_terminal_the_way_out_is_told(private: Path) -> None:
    with pytest.raises(AuthorityError, match=r"passphrase_file.*HEARTH_AUTHORITY_PASSPHRASE_FILE"):
        authority.passphrase(fleet(private))


def test_the_operator_is_asked_once_a_run(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = typing(monkeypatch, "correct horse battery", "never asked for")
    assert [authority.passphrase(fleet(private)) for _ in range(3)] == [b"correct horse battery"] * 3
    assert waiting == ["never asked for"]


def test_a_slip_of_the_finger_may_be_mended_twice(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typing(monkeypatch, "wrong", "wrong too", "correct horse battery")
    assert authority.passphrase(fleet(private)) == b"correct horse battery"
    monkeypatch.setattr(module, "_known", {})
    waiting = typing(monkeypatch, "wrong", "wrong", "wrong", "correct horse battery")
    with pytest.raises(AuthorityError, match="passphrase is wrong"):
        authority.passphrase(fleet(private))
    assert waiting == ["correct horse battery"]


def test_nobody_is_asked_for_keys_that_are_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = typing(monkeypatch, "correct horse battery")
    with pytest.raises(AuthorityError, match="not on this machine"):
        authority.passphrase(fleet(tmp_path / "nowhere"))
    assert waiting

"""One authority for all tests of this folder: making it costs bcrypt's second."""

from __future__ import annotations

from pathlib import Path

import pytest

from hearth import authority
from hearth.authority import store

PASSPHRASE = b"correct horse battery"


@pytest.fixture(scope="session")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("fleet")
    authority.init(base / "private", base / "public", "example", "home.example", PASSPHRASE)
    return base / "private"


@pytest.fixture(scope="session")
def public(private: Path) -> Path:
    return private.parent / "public"


@pytest.fixture(scope="session")
def passphrase() -> bytes:
    return PASSPHRASE


@pytest.fixture(autouse=True)
def quick_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Authorities that a single test makes are cheap to open; the shared one has the real cost."""
    monkeypatch.setattr(store, "_BCRYPT_ROUNDS", 2)

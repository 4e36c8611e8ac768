"""The good fleet of the corpus, as a folder of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.inventory.corpus import make_fleet


@pytest.fixture
def fleet_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the good fleet in ``fleet/`` below the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEARTH_AUTHORITY_PASSPHRASE_FILE", raising=False)
    return make_fleet(tmp_path / "fleet")

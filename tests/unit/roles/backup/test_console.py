"""``hearth-key`` at the box's console."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from roles.backup.onbox import console, keys, nightly, paperkey
from roles.backup.onbox.page import confirmation
from roles.backup.onbox.repository import Repository
from roles.backup.onbox.settings import Paths, Settings
from roles.backup.onbox.system import Fault, text_of

SETTINGS = Settings("mueller", "mueller.home.example", "rest:https://127.0.0.1:18444/mueller/", ("renate",), 7443)


def test_a_new_sheet_is_the_way_out_where_nobody_can_read_what_became_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths(secrets=tmp_path, public=tmp_path, state=tmp_path, cache=tmp_path, lock=tmp_path / "lock")
    settings = replace(SETTINGS, paths=paths)
    for path in (paths.store_password, paths.certificate):
        path.write_text("there")
    paths.paper.write_text("not JSON")
    monkeypatch.setattr(keys, "secrets_are_made", lambda _: True)
    monkeypatch.setattr(nightly, "look", lambda *_: True)
    monkeypatch.setattr(keys, "repository_id", lambda *_: "ab12")
    monkeypatch.setattr(keys, "opens", lambda *given: given[-1] == text_of(paths.paper_key))
    monkeypatch.setattr(console, "forget_page", lambda: None)
    repository = Repository("", {}, (), tmp_path)
    with pytest.raises(Fault, match="hearth-key renew"):
        keys.keep_paper_key(settings, repository)

    console.renew(settings)

    assert keys.read_paper(paths).repository == "ab12"
    before = text_of(paths.paper_key)
    keys.keep_paper_key(settings, repository)
    assert text_of(paths.paper_key) == before != ""


@pytest.mark.parametrize("renewed", [False, True])
def test_a_key_that_was_renewed_while_its_group_was_asked_for_is_not_forgotten(
    renewed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths(secrets=tmp_path, public=tmp_path, state=tmp_path, cache=tmp_path, lock=tmp_path / "lock")
    old, new = paperkey.make(), paperkey.make()
    paths.paper_key.write_text(old)
    keys.write_paper(paths, keys.Paper("ab12", "2026-11-23T08:00:00Z"))

    def answer(_: str) -> str:
        paths.paper_key.write_text(new if renewed else old)
        return paperkey.group_of(old, confirmation(old))

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr(console, "forget_page", lambda: None)

    if renewed:
        with pytest.raises(Fault, match="changed meanwhile"):
            console.confirm(replace(SETTINGS, paths=paths))
    else:
        console.confirm(replace(SETTINGS, paths=paths))

    assert text_of(paths.paper_key) == (new if renewed else "")
    assert keys.is_unprinted(paths) is renewed

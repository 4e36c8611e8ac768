"""Taking over a backup's cloud: what is refused, and what every interruption leaves."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from roles.owncloud.onbox import adopt, database, setup
from roles.owncloud.onbox.adopt import About, Adoption
from roles.owncloud.onbox.common import Fault
from roles.owncloud.onbox.settings import Settings
from tests.unit.roles.test_owncloud_onbox import SHA, settings

OURS = "<?php $CONFIG = ['installed' => true, 'instanceid' => 'ours'\n);"
BACKUP = "4d" * 32


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A box with an installed cloud and one file of its own; MariaDB, systemd and occ are noted and not run."""
    mine = settings(tmp_path)
    (mine.paths.tree / "config").mkdir(parents=True)
    (mine.paths.tree / "config/config.php").write_text(OURS)
    (mine.paths.tree / "config/hearth.release").write_text(
        json.dumps({"product": "owncloud", "version": "11.0.10", "sha256": SHA})
    )
    mine.paths.kept_config.write_text(OURS)
    write(mine.paths.data / "renate/files/ours.txt", "ours")
    monkeypatch.setattr(database, "table_rows", dict)
    monkeypatch.setattr(adopt, "cron", lambda *_: None)
    monkeypatch.setattr(adopt, "reload_php", lambda *_: None)
    monkeypatch.setattr("shutil.chown", lambda *_: None)
    monkeypatch.setattr(adopt, "forget_passwords", lambda *_: None)
    monkeypatch.setattr(adopt, "exchange", exchanged)
    return mine


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def exchanged(one: Path, other: Path) -> None:
    beside = one.with_name(".exchange")
    one.rename(beside)
    other.rename(one)
    beside.rename(other)


@pytest.fixture
def laid(tmp_path: Path) -> Path:
    """The folder that a restore laid."""
    folder = tmp_path / "restore/cloud"
    write(folder / "data/renate/files/theirs.txt", "theirs")
    about = {"of": BACKUP, "product": "owncloud", "version": "11.0.9", "tables": {"oc_users": 2}}
    (folder / "about.json").write_text(json.dumps(about))
    return folder


def about(**changes: str) -> About:
    return replace(About(BACKUP, "owncloud", "11.0.9"), **changes)  # type: ignore[arg-type]


def test_what_a_restore_laid_is_read_as_it_was_written(laid: Path) -> None:
    assert adopt.read_about(laid) == About(BACKUP, "owncloud", "11.0.9", {"oc_users": 2})
    (laid / "about.json").write_text("{}")
    with pytest.raises(Fault, match="does not hold a cloud"):
        adopt.read_about(laid)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (about(), ""),
        (about(version="11.0.10"), ""),
        (about(version="11.0.11"), "pin 11.0.11 or a release that follows it"),
        (about(product="nextcloud", version="35.0.1"), "one product cannot read the other's data"),
    ],
)
def test_a_backup_of_a_newer_release_or_of_another_product_is_refused(box: Settings, theirs: About, words: str) -> None:
    found = adopt.refusal(box, theirs, replacing=True)
    assert (words in found) if words else found == ""


def test_a_box_that_holds_somebodys_data_is_replaced_only_when_that_was_said(
    box: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "table_rows", lambda: {"oc_users": 2, "oc_calendarobjects": 7})
    assert "holds 1 files and 7 calendar entries already; say --replace" in adopt.refusal(box, about(), replacing=False)
    assert adopt.refusal(box, about(), replacing=True) == ""
    monkeypatch.setattr(database, "table_rows", lambda: {"oc_users": 2})
    (box.paths.data / "renate/files/ours.txt").unlink()
    assert adopt.refusal(box, about(), replacing=False) == ""


def test_a_box_without_a_cloud_or_before_its_upgrade_takes_over_nothing(box: Settings) -> None:
    later = replace(box, pin=replace(box.pin, sha256="ef" * 32))
    assert "waits for its upgrade" in adopt.refusal(later, about(), replacing=True)
    box.paths.kept_config.unlink()
    assert "no cloud yet" in adopt.refusal(box, about(), replacing=True)


def test_rows_that_are_missing_from_the_database_are_named() -> None:
    adopt.compare_rows({"oc_users": 2}, {"oc_users": 2, "oc_more": 1})
    with pytest.raises(Fault, match=r"oc_cards 0 of 4, oc_users 1 of 2"):
        adopt.compare_rows({"oc_users": 2, "oc_cards": 4}, {"oc_users": 1})


def begun(box: Settings, laid: Path, phase: str) -> None:
    """A box whose power was cut in ``phase``, after the folders had changed places where it had come so far."""
    inodes = {"data": (laid / "data").stat().st_ino}
    adopt.write_adoption(box, Adoption(phase, BACKUP, str(laid), inodes, str(box.paths.data.with_name("replaced-1"))))
    box.paths.before_adoption.write_text("our dump")
    (box.paths.tree / "config/config.php").write_text("theirs, half written")
    if phase in ("adopting", "verified"):
        exchanged(box.paths.data, laid / "data")


@pytest.mark.parametrize("phase", ["preparing", "adopting", "restored"])
def test_a_power_cut_before_the_end_leaves_the_box_with_what_it_had(
    box: Settings, laid: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    begun(box, laid, phase)
    filled: list[str] = []
    monkeypatch.setattr(database, "restore", lambda _, path: filled.append(path.read_text()))

    assert adopt.waits(box)
    assert adopt.recover(box) == "this box has what it had before"

    assert (box.paths.data / "renate/files/ours.txt").read_text() == "ours"
    assert (laid / "data/renate/files/theirs.txt").read_text() == "theirs", "what was fetched is still there"
    assert (box.paths.tree / "config/config.php").read_text() == OURS
    assert filled == (["our dump"] if phase == "adopting" else [])
    assert not adopt.waits(box)
    assert not box.paths.before_adoption.exists()
    assert not box.paths.adopted.exists()
    assert adopt.recover(box) == ""


def test_a_power_cut_between_two_steps_of_going_back_is_survived(
    box: Settings, laid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(box, laid, "adopting")
    tries = iter([Fault("MariaDB is down"), None])

    def fill(*_: object) -> None:
        if fault := next(tries):
            raise fault

    monkeypatch.setattr(database, "restore", fill)
    with pytest.raises(Fault, match="MariaDB is down"):
        adopt.recover(box)
    assert adopt.waits(box)
    assert adopt.recover(box) == "this box has what it had before"
    assert (box.paths.data / "renate/files/ours.txt").exists()


def test_a_power_cut_after_the_end_goes_forward_and_keeps_what_was_somebodys(box: Settings, laid: Path) -> None:
    begun(box, laid, "verified")

    told = adopt.recover(box)

    aside = box.paths.data.with_name("replaced-1")
    assert told == f"what this box held before is kept in {aside}"
    assert (box.paths.data / "renate/files/theirs.txt").read_text() == "theirs"
    assert (aside / "data/renate/files/ours.txt").read_text() == "ours"
    assert (aside / "database.sql").read_text() == "our dump"
    assert json.loads(box.paths.adopted.read_text()) == {"of": BACKUP}
    assert not laid.exists()
    assert not adopt.waits(box)


def test_what_nobody_had_put_anything_into_is_not_kept(box: Settings, laid: Path) -> None:
    (box.paths.data / "renate/files/ours.txt").unlink()
    begun(box, laid, "verified")
    assert adopt.recover(box) == "the household's cloud is in place"
    assert not box.paths.data.with_name("replaced-1").exists()


def test_a_power_cut_while_it_is_kept_loses_nothing(box: Settings, laid: Path) -> None:
    begun(box, laid, "verified")
    part = box.paths.data.with_name(".replaced-1")
    part.mkdir()
    (laid / "data").rename(part / "data")  # killed here
    adopt.recover(box)
    assert (box.paths.data.with_name("replaced-1") / "data/renate/files/ours.txt").read_text() == "ours"


def test_what_fails_on_the_way_is_undone_and_told(box: Settings, laid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopt, "own", lambda _: None)
    monkeypatch.setattr(adopt, "need_room", lambda *_: None)
    monkeypatch.setattr(database, "size_bytes", lambda: 0)
    monkeypatch.setattr(adopt, "prepare", lambda mine: mine.paths.before_adoption.write_text("our dump"))
    monkeypatch.setattr(adopt, "merged_config", lambda *_: b"merged")
    monkeypatch.setattr(database, "restore", lambda *_: None)
    fills: list[Callable[[], None]] = []

    def no_import(*_: object) -> None:
        assert (box.paths.data / "renate/files/theirs.txt").exists()
        fills.append(lambda: None)
        raise Fault("the database of the backup could not be imported: syntax")

    monkeypatch.setattr(database, "import_foreign", no_import)

    with pytest.raises(Fault, match=r"could not be imported: syntax; this box has what it had before"):
        adopt.adopt(box, laid, replacing=True)

    assert len(fills) == 1
    assert (box.paths.data / "renate/files/ours.txt").exists()
    assert not adopt.waits(box)


def test_a_backup_brings_no_special_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopt, "WEB", pwd.getpwuid(os.geteuid()).pw_name)  # only root can give files away
    write(tmp_path / "data/renate/files/tool", "x")
    (tmp_path / "data/renate/files/tool").chmod(0o6777)
    (tmp_path / "data/renate/files/link").symlink_to("/etc/passwd")
    adopt.own(tmp_path / "data")
    known = (tmp_path / "data/renate/files/tool").stat()
    assert known.st_mode & 0o7777 == 0o660
    assert Path("/etc/passwd").stat().st_uid == 0
    os.mkfifo(tmp_path / "data/pipe")
    with pytest.raises(Fault, match="neither file nor folder"):
        adopt.own(tmp_path / "data")


def test_a_password_of_the_box_is_forgotten_when_its_user_came_with_the_backup(
    box: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("shutil.chown", lambda *_: None)
    box.paths.passwords.write_text(setup.HEADING + "renate: aaaa\njonas: bbbb\n")
    monkeypatch.setattr(adopt, "occ", lambda *_: '{"renate": {"displayName": "Renate"}}')
    adopt.forget_passwords(box)
    assert setup.parse_passwords(box.paths.passwords.read_text()) == {"jonas": "bbbb"}

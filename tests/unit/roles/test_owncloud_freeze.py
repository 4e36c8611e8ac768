"""The view of the cloud for a backup: what belongs in it, and what is counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roles.owncloud.onbox import database, freeze
from roles.owncloud.onbox.freeze import Tally, in_view


@pytest.mark.parametrize(
    "path",
    [
        "renate/files/letter.txt",
        "renate/files/cache/letter.txt",
        "renate/files_trashbin/files/old.d1700000000",
        "renate/files_versions/letter.txt.v1",
        "appdata_oc1/theming/logo.png",
        "avatars/ab/avatar.png",
        "server.log.txt/files/a",
    ],
)
def test_what_the_household_would_miss_is_in_the_view(path: str) -> None:
    parts = tuple(path.split("/"))
    assert all(in_view(parts[:length]) for length in range(1, len(parts) + 1))


@pytest.mark.parametrize(
    "path",
    [
        "owncloud.log",
        "nextcloud.log.1",
        "updater-oc1/x",
        "renate/cache",
        "renate/uploads",
        "renate/thumbnails",
        "appdata_oc1/preview",
        "renate/files/film.mp4.ocTransferId1234.part",
    ],
)
def test_what_is_made_anew_or_unfinished_is_not(path: str) -> None:
    parts = tuple(path.split("/"))
    assert not all(in_view(parts[:length]) for length in range(1, len(parts) + 1))


def test_the_view_has_second_names_with_owner_time_and_mode_and_is_counted(tmp_path: Path) -> None:
    source = tmp_path / "data"
    (source / "renate/files/photos").mkdir(parents=True)
    (source / "renate/cache").mkdir()
    (source / "renate/files/photos/a.jpg").write_text("12345")
    (source / "renate/files/photos/\udcff.jpg").write_text("1")
    (source / "renate/files/link").symlink_to("photos")
    (source / "renate/cache/x").write_text("x")
    os.mkfifo(source / "renate/files/fifo")
    (source / "renate/files/photos").chmod(0o750)
    os.utime(source / "renate/files/photos", (1000, 2000))
    tally = Tally()
    freeze.link(source, tmp_path / "view", (), in_view, tally)
    view = tmp_path / "view/renate/files"
    assert (view / "photos/a.jpg").stat().st_ino == (source / "renate/files/photos/a.jpg").stat().st_ino
    assert sorted(path.name for path in view.iterdir()) == ["link", "photos"]
    assert (view / "photos").stat().st_mtime == 2000
    assert (view / "photos").stat().st_mode & 0o777 == 0o750
    assert not (tmp_path / "view/renate/cache").exists()
    assert tally.users == {"renate": {"files": 3, "bytes": 5 + 1 + len("photos")}}
    # A file that is replaced afterwards, as the products do, stays what it was.
    (tmp_path / "new").write_text("changed")
    (tmp_path / "new").replace(source / "renate/files/photos/a.jpg")
    assert (view / "photos/a.jpg").read_text() == "12345"


def test_the_password_of_the_boxs_database_is_no_part_of_the_view() -> None:
    config = "  'dbpassword' => 'it\\'s s3cret',\n  'secret' => 'kept',\n"
    assert freeze.SECRET_OF_THE_BOX.sub(r"\1''", config) == "  'dbpassword' => '',\n  'secret' => 'kept',\n"


def test_the_rows_of_a_dump_are_counted_whatever_is_in_them(tmp_path: Path) -> None:
    dump = tmp_path / "database.sql"
    dump.write_text(
        "CREATE TABLE `oc_a` (\n  `x` int\n);\nCREATE TABLE `oc_b` (\n);\n"
        "INSERT INTO `oc_a` VALUES (1,'INSERT INTO `oc_b`\\nINSERT INTO `oc_b`');\nINSERT INTO `oc_a` VALUES (2);\n"
    )
    assert database.count_rows(dump) == {"oc_a": 2, "oc_b": 0}

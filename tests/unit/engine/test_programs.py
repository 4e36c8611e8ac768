"""The programs on hosts: each comes there whole, by itself, and what they share is the same in all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hearth import layout
from hearth.onhost import common
from hearth.programs import package
from hearth.render import OWNED

ROLES = Path(__file__).parents[3] / "roles"
PROGRAMS = {
    "hearth_cloud": ("owncloud/onbox", "main"),
    "hearth_backup": ("backup/onbox", "restore"),
    "hearth_health": ("health/onhost", "main"),
    "hearth_store": ("backup_store/onhost", "main"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_needs_nothing_of_hearth_but_its_own_modules(name: str, tmp_path: Path) -> None:
    folder, module = PROGRAMS[name]
    for file in package(name, ROLES / folder):
        path = tmp_path / file.path.removeprefix(f"{layout.PROGRAMS}/")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file.raw)
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {name}.{module}"
    subprocess.run([sys.executable, "-ISB", "-c", start], check=True, cwd=tmp_path)


@pytest.mark.parametrize("name", ["hearth_cloud", "hearth_backup"])
def test_what_programs_share_comes_with_each_of_them(name: str) -> None:
    files = {file.path: file.raw.decode() for file in package(name, ROLES / PROGRAMS[name][0])}
    assert files[f"{layout.PROGRAMS}/{name}/common.py"] == OWNED + Path(common.__file__).read_text()


def test_what_goes_wrong_ends_a_program_with_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def failing() -> None:
        raise common.Fault("the disk is full; make room")

    looked: list[str] = []
    assert common.ended("fetch", lambda: looked.append("")) == 0
    assert common.ended("fetch", failing) == 1
    assert common.ended("fetch", (tmp_path / "none").unlink) == 1
    assert common.ended("fetch", lambda: looked.append(common.description(tmp_path / "none"))) == 1
    assert capsys.readouterr() == (
        "",
        "fetch: the disk is full; make room\n"
        f"fetch: {tmp_path}/none: No such file or directory\n"
        f"fetch: {tmp_path}/none is missing; converge the box again\n",
    )


def test_one_run_at_a_time_does_its_work_and_the_other_one_says_why_not(tmp_path: Path) -> None:
    lock = tmp_path / "new/lock"
    with (
        common.locked(lock, 0, "another run is at work"),
        pytest.raises(common.Fault, match="another run is at work; try again when it has ended"),
        common.locked(lock, 0.1, "another run is at work"),
    ):
        pass
    with common.locked(lock, 0, "another run is at work"):
        """Nobody has it any more."""


def test_a_child_that_outlives_a_run_keeps_its_lock(tmp_path: Path) -> None:
    with common.locked(tmp_path / "lock", 0, "busy"):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    try:
        with pytest.raises(common.Fault, match="busy"), common.locked(tmp_path / "lock", 0, "busy"):
            pass
    finally:
        child.communicate()


def test_a_file_is_put_whole_with_its_mode_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "config.php"
    path.write_text("old")
    common.write_whole(path, "ä", 0o640)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == ("ä".encode(), 0o640)
    with pytest.raises(LookupError):
        common.write_whole(path, b"new", owned=("no-such-account", "no-such-group"))
    assert path.read_text() == "ä"
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"

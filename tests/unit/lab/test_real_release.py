"""A real release in place of the stand-in: the copy of the inventory that the demo and the tests converge then."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path

import pytest

from hearth.inventory import load_or_raise
from hearth.lab.process import LabError
from hearth.lab.real_release import with_real_release

EXAMPLE = Path(__file__).parents[3] / "inventory"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("local.yaml", "authority")
    return Path(shutil.copytree(EXAMPLE, tmp_path / "inventory", ignore=ignored))


def make_tarball(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:bz2") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return path


@pytest.fixture
def tarball(tmp_path: Path) -> Path:
    names = ("owncloud/occ", "owncloud/apps/dav/appinfo/info.xml", "owncloud/apps/calendar/appinfo/info.xml")
    return make_tarball(tmp_path / "own cloud-11.0.7.tar.bz2", *names)


def test_without_the_variable_the_inventory_stays_as_it_is(inventory: Path, tmp_path: Path) -> None:
    assert with_real_release(inventory, tmp_path / "copy", {}) == inventory
    assert not (tmp_path / "copy").exists()


def test_the_copy_pins_the_tarball_and_the_inventory_is_not_touched(
    inventory: Path, tmp_path: Path, tarball: Path
) -> None:
    before = (inventory / "fleet.yaml").read_bytes()
    environ = {"HEARTH_OWNCLOUD_TARBALL": str(tarball), "HEARTH_OWNCLOUD_VERSION": "11.0.7"}

    copy = with_real_release(inventory, tmp_path / "copy", environ)

    release = load_or_raise(copy).households[0].owncloud.release
    assert (release.version, release.archive_top, release.php) == ("11.0.7", "owncloud", "8.4")
    assert release.ignore_deprecations
    assert release.url == "http://releases.hearth.lab/given/own%20cloud-11.0.7.tar.bz2"
    assert release.sha256 == hashlib.sha256(tarball.read_bytes()).hexdigest()
    assert (inventory / "fleet.yaml").read_bytes() == before


def test_apps_that_the_tarball_does_not_bring_are_left_out(inventory: Path, tmp_path: Path, tarball: Path) -> None:
    environ = {"HEARTH_OWNCLOUD_TARBALL": str(tarball), "HEARTH_OWNCLOUD_VERSION": "11.0.7"}
    fleet = load_or_raise(with_real_release(inventory, tmp_path / "copy", environ))
    assert {household.id: household.owncloud.apps for household in fleet.households} == {
        "mueller": ("calendar",),
        "schmidt": (),
    }


def test_the_machines_own_files_are_not_copied_and_those_of_the_copy_stay(
    inventory: Path, tmp_path: Path, tarball: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "kept").write_text("of the copy")
    (inventory / "local.yaml").write_text("of the original")
    environ = {"HEARTH_OWNCLOUD_TARBALL": str(tarball), "HEARTH_OWNCLOUD_VERSION": "11.0.7"}
    with_real_release(inventory, copy, environ)
    assert (copy / "kept").exists()
    assert not (copy / "local.yaml").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"HEARTH_OWNCLOUD_VERSION": ""}, "HEARTH_OWNCLOUD_VERSION is not: say which version"),
        ({"HEARTH_OWNCLOUD_SHA256": "ab" * 32}, f"HEARTH_OWNCLOUD_SHA256 says {'ab' * 32}: take the right file"),
        ({"HEARTH_OWNCLOUD_TARBALL": "/nowhere.tar.bz2"}, "/nowhere.tar.bz2, which is not a file"),
        ({"HEARTH_OWNCLOUD_TARBALL": "/etc/hostname"}, "cannot be read as a tarball"),
    ],
)
def test_an_environment_that_does_not_suffice_gets_a_sentence(
    inventory: Path, tmp_path: Path, tarball: Path, change: dict[str, str], words: str
) -> None:
    environ = {"HEARTH_OWNCLOUD_TARBALL": str(tarball), "HEARTH_OWNCLOUD_VERSION": "11.0.7"}
    with pytest.raises(LabError, match=words):
        with_real_release(inventory, tmp_path / "copy", environ | change)


def test_a_tarball_of_something_else_is_refused(inventory: Path, tmp_path: Path) -> None:
    other = make_tarball(tmp_path / "other.tar.bz2", "nextcloud/occ")
    environ = {"HEARTH_OWNCLOUD_TARBALL": str(other), "HEARTH_OWNCLOUD_VERSION": "11.0.7"}
    with pytest.raises(LabError, match="no folder owncloud/ at its top"):
        with_real_release(inventory, tmp_path / "copy", environ)

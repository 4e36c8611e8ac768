"""The small releases: the same bytes everywhere, laid out as the role expects, and known by their sums."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.release import build

ROOT = Path(__file__).resolve().parents[3]
PINS = Path(__file__).with_name("SHA256SUMS")


RELEASES = pytest.mark.parametrize("release", build.RELEASES, ids=lambda release: release.archive)


def members(release: Any) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(build.tarball(release))) as archive:
        return {member.name: member for member in archive}


def test_the_sums_are_the_pinned_ones(tmp_path: Path) -> None:
    build.build(tmp_path)
    assert (tmp_path / "SHA256SUMS").read_text() == PINS.read_text(), (
        "The stand-in's sources changed. When that is meant: python tests/release/build.py /tmp/release"
        " && cp /tmp/release/SHA256SUMS tests/unit/release/ and put owncloud-11.0.0's sum into inventory/fleet.yaml."
    )


def test_the_example_fleet_pins_the_stand_in() -> None:
    pins = {name: digest for digest, name in map(str.split, PINS.read_text().splitlines())}
    for release in yaml.safe_load((ROOT / "inventory/fleet.yaml").read_text())["releases"]:
        archive = release["url"].rsplit("/", 1)[-1]
        assert release["sha256"] == pins[archive], f"inventory/fleet.yaml: the sum of {archive} is {pins[archive]}"


def test_the_sums_file_names_the_files_beside_it(tmp_path: Path) -> None:
    build.build(tmp_path)
    for line in (tmp_path / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


@RELEASES
def test_the_bytes_do_not_depend_on_when_they_were_made(release: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build.tarball(release)
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setattr("time.time", lambda: 1.0)
    assert build.tarball(release) == first


@RELEASES
def test_everything_stands_below_the_one_top_folder(release: Any) -> None:
    names = members(release)
    assert {name.split("/")[0] for name in names} == {release.product}
    assert all(".." not in name.split("/") for name in names)


@RELEASES
def test_no_member_has_an_owner_or_a_time_of_this_machine(release: Any) -> None:
    for member in members(release).values():
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", ""), member.name
        assert member.mtime == release.mtime_s, member.name
        assert member.mode in (0o644, 0o755), member.name
        assert member.isdir() or member.isfile(), member.name


@RELEASES
def test_every_folder_comes_before_what_it_holds(release: Any) -> None:
    seen: set[str] = set()
    for name in members(release):
        assert "/" not in name or name.rsplit("/", 1)[0] in seen, name
        seen.add(name)


def test_releases_differ_in_the_time_of_their_files() -> None:
    times = [release.mtime_s for release in build.RELEASES]
    assert len(set(times)) == len(times), "OPcache would keep running the code of the release before"


@RELEASES
def test_occ_can_be_started(release: Any) -> None:
    occ = members(release)[f"{release.product}/occ"]
    assert occ.mode == 0o755
    assert build.files(release)["occ"].startswith(b"#!/usr/bin/env php\n<?php\n")


@RELEASES
def test_what_the_role_touches_is_there_and_the_household_s_own_is_not(release: Any) -> None:
    names = {name.removeprefix(f"{release.product}/") for name in members(release)}
    assert {"occ", "status.php", "remote.php", "cron.php", ".htaccess", ".user.ini", "version.php", "config"} <= names
    assert {"apps/calendar/appinfo/info.xml", "apps/contacts/appinfo/info.xml", "apps-external"} <= names
    assert not {"config/config.php", "data"} & names


@RELEASES
def test_version_php_says_the_version_of_the_tarball(release: Any) -> None:
    text = build.files(release)["version.php"].decode()
    parts = re.search(r"\$OC_Version = \[(.+)];", text)
    assert parts is not None
    assert parts[1].split(", ")[:3] == release.version.split(".")
    assert f"$OC_VersionString = '{release.version}';" in text
    assert f"'versionstring' => \"{release.version}\"," in build.files(release)["lib/release.php"].decode()


@RELEASES
def test_the_signature_covers_every_file_but_the_configuration(release: Any) -> None:
    tree = build.files(release)
    hashes = json.loads(tree["core/signature.json"])["hashes"]
    unsigned = {path for path in tree if path.startswith("config/")} | {"core/signature.json"}
    assert hashes.keys() == tree.keys() - unsigned
    assert hashes[".user.ini"] == hashlib.sha512(tree[".user.ini"]).hexdigest()


def test_only_11_0_0_has_the_class_that_php_calls_deprecated() -> None:
    trap = b"array $row, array $changing = null"
    bitten = [release.archive for release in build.RELEASES if trap in b"".join(build.files(release).values())]
    assert bitten == ["owncloud-11.0.0.tar.bz2"]


def test_an_upgrade_brings_the_migrations_of_the_releases_before_it() -> None:
    brought = {
        release.version: [
            Path(path).stem for path in sorted(build.files(release)) if path.startswith("core/Migrations/")
        ]
        for release in build.RELEASES
        if release.product == "owncloud"
    }
    assert brought == {"11.0.0": [], "11.0.1": ["11.0.1"], "11.0.2": ["11.0.1", "11.0.2"]}


@RELEASES
def test_it_says_that_it_is_not_the_real_thing(release: Any) -> None:
    assert b"stand-in, not" in build.files(release)["core/templates/page.php"]


@RELEASES
def test_the_archive_is_one_bzip2_stream_that_ends_cleanly(release: Any) -> None:
    decompressor = bz2.BZ2Decompressor()
    decompressor.decompress(build.tarball(release))
    assert decompressor.eof
    assert decompressor.unused_data == b""


def test_the_program_wants_one_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([]) == 2
    assert "usage:" in capsys.readouterr().err

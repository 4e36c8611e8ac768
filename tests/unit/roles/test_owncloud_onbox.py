"""The program on the box: what it decides and reads, without a box."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from roles.owncloud.onbox import archive, database, serving, setup, system, tree, upgrade
from roles.owncloud.onbox.common import Fault
from roles.owncloud.onbox.settings import Paths, Pin, Settings, Web, parse

SHA = "ab" * 32
HERE = tree.Stamp("owncloud", "11.0.9", "cd" * 32)


def settings_pin(product: str = "owncloud", version: str = "11.0.10") -> Pin:
    return Pin(product, version, (), SHA, product, "8.4")


def settings(tmp_path: Path, product: str = "owncloud", version: str = "11.0.10") -> Settings:
    paths = Paths(
        www=tmp_path / "www",
        data=tmp_path / "data",
        cache=tmp_path / "cache",
        state=tmp_path / "state",
        secrets=tmp_path / "secrets",
        passwords=tmp_path / "passwords.txt",
    )
    for folder in (paths.www, paths.cache, paths.state):
        folder.mkdir()
    return Settings(
        domain="it's.example",
        url="https://it's.example",
        when="window",
        pin=settings_pin(product, version),
        web=Web("127.0.0.1", 443, True),
        users=(),
        apps=(),
        paths=paths,
    )


@pytest.mark.parametrize(
    ("product", "here", "pinned", "words"),
    [
        ("owncloud", "11.0.9", "11.0.10", None),
        ("owncloud", "10.16.4", "12.0.0", None),
        ("owncloud", "11.0.10", "11.0.9", "cannot go back"),
        ("owncloud", "11.0.9", "11.0.9", None),
        ("nextcloud", "33.0.9", "34.0.4", None),
        ("nextcloud", "33.0.9", "35.0.1", "must not skip a major"),
    ],
)
def test_a_pin_that_goes_back_or_skips_what_the_product_must_not_skip_is_refused(
    tmp_path: Path, product: str, here: str, pinned: str, words: str | None
) -> None:
    found = tree.refused_move(tree.Stamp(product, here, "x"), settings(tmp_path, product, pinned))
    assert (found is None) if words is None else (found is not None and words in found)


def test_one_product_never_becomes_the_other(tmp_path: Path) -> None:
    assert "does not upgrade" in (tree.refused_move(HERE, settings(tmp_path, "nextcloud", "35.0.1")) or "")


def test_whether_a_release_needs_help_goes_with_its_tree_and_not_with_the_pin(tmp_path: Path) -> None:
    helped = replace(settings(tmp_path), pin=replace(settings_pin(), ignore_deprecations=True))
    (helped.paths.tree / "config").mkdir(parents=True)
    (helped.paths.tree / "config/hearth.release").write_text(json.dumps(asdict(tree.stamp_of(helped.pin))))
    assert archive.is_here(helped)
    assert not archive.is_here(replace(helped, pin=settings_pin())), "the operator changed his mind about one release"
    moved = replace(settings_pin(), sha256="ef" * 32)
    assert not archive.trees_of_pin(replace(helped, pin=moved)), "the tree of another release is not touched"


def test_the_version_is_read_as_people_write_it() -> None:
    assert tree.parse_version("<?php\n$OC_Version = [11,0,0,4];\n$OC_VersionString = '11.0.0';") == "11.0.0"
    assert tree.parse_version("<html>not found</html>") is None


def test_a_config_is_installed_only_when_it_says_true() -> None:
    assert tree.says("'installed' => true,", "installed")
    assert not tree.says("'installed' => false,", "installed")
    assert not tree.says("'not_installed' => true,", "installed")


def test_users_and_apps_are_read_from_both_products() -> None:
    assert tree.parse_users('{"anna":{"displayName":"Anna"}}') == {"anna"}
    assert tree.parse_users('Some notice\n{"anna":"Anna","bob":"Bob"}') == {"anna", "bob"}
    assert tree.parse_users("[]") == frozenset()
    assert tree.parse_apps('{"enabled":{"dav":{"Version":"0.7"}},"disabled":{}}') == {"dav"}
    assert tree.parse_apps('{"enabled":{"dav":"1.0"},"disabled":["x"]}') == {"dav"}
    with pytest.raises(Fault, match="gave no JSON"):
        tree.parse_users("An unhandled exception has been thrown")


SERVING = {"installed": True, "maintenance": False, "needsDbUpgrade": False, "versionstring": "11.0.1"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"versionstring": "11.0.0"}, "version 11.0.0"),
        ({"maintenance": True}, "maintenance mode"),
        ({"needsDbUpgrade": True}, "database upgrade"),
        ({"installed": False}, "not installed"),
    ],
)
def test_a_version_serves_only_when_status_php_says_all_of_it(change: dict[str, object], words: str) -> None:
    found = serving.judge({**SERVING, **change}, "11.0.1")
    assert (words in found) if words else found == ""
    assert serving.judge({}, "11.0.1")


def test_a_release_that_failed_is_refused_and_another_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.chown", lambda *_: None)
    mine = settings(tmp_path)
    upgrade.write_tries(mine, upgrade.Tries(SHA, interrupted=1, refused="the upgrade to 11.0.10 failed: no"))
    assert upgrade.refusal(upgrade.read_tries(mine), "11.0.10") == "the upgrade to 11.0.10 failed: no"
    other = replace(mine, pin=replace(mine.pin, sha256="ef" * 32))
    assert upgrade.refusal(upgrade.read_tries(other), "11.0.11") == ""


def test_a_power_cut_is_forgiven_twice() -> None:
    assert [bool(upgrade.refusal(upgrade.Tries(SHA, interrupted=n), "11.0.1")) for n in range(4)] == [
        False,
        False,
        False,
        True,
    ]


def test_the_account_may_do_all_in_its_own_database_and_nothing_elsewhere() -> None:
    usage = "GRANT USAGE ON *.* TO `hearth_cloud`@`localhost` IDENTIFIED BY PASSWORD '*0'"
    own = r"GRANT ALL PRIVILEGES ON `hearth\_cloud`.* TO `hearth_cloud`@`localhost`"
    public = "GRANT SELECT ON `test`.* TO PUBLIC"
    more = "GRANT SELECT ON `mysql`.* TO `hearth_cloud`@`localhost`"
    assert database.only_our_grants(f"{usage}\n{own}\n{public}\n")
    assert not database.only_our_grants(f"{usage}\n{own}\n{more}\n")
    assert not database.only_our_grants(usage)


def test_a_password_has_100_bits_and_can_be_read_off_paper() -> None:
    assert len(set(setup.ALPHABET)) == 32
    words = {setup.make_password() for _ in range(50)}
    assert len(words) == 50
    for word in words:
        assert [len(group) for group in word.split("-")] == [4] * 5
        assert not set(word) & set("lo01")


def test_the_password_file_is_read_as_it_is_written() -> None:
    assert setup.parse_passwords(setup.HEADING + "anna: ab-cd\no: b: ef\n") == {"anna": "ab-cd", "o: b": "ef"}


def test_a_password_is_on_the_disk_before_it_is_used_and_stays_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.chown", lambda *_: None)  # the tests need not be root
    mine = settings(tmp_path)
    first = setup.password_for(mine, "anna")
    assert f"anna: {first}\n" in mine.paths.passwords.read_text()
    setup.password_for(mine, "bob")
    assert setup.password_for(mine, "anna") == first
    assert mine.paths.passwords.stat().st_mode & 0o777 == 0o600


def test_the_configuration_quotes_what_php_would_read_otherwise(tmp_path: Path) -> None:
    text = setup.render_config(settings(tmp_path))
    assert r"'trusted_domains' => ['it\'s.example']" in text
    assert r"'memcache.local' => '\\OC\\Memcache\\APCu'" in text
    assert "This file belongs to hearth" in text.splitlines()[1]


def test_occs_last_words_hide_secrets_and_keep_the_reason() -> None:
    words = system.last_words(b"one\ntwo\nlogin with s3cret failed\n\nUpdate failed\n", hide=["s3cret"])
    assert words == "two / login with … failed / Update failed"
    trace = (
        b"RedisException: Connection refused\nStack trace:\n#0 /srv/x.php(4): go()\n#1 {main}\n  thrown in /srv/x.php\n"
    )
    assert system.last_words(trace) == "RedisException: Connection refused"
    assert system.last_words(b"", b"") == "it said nothing"


def test_a_description_that_is_no_toml_gets_a_sentence() -> None:
    for text in ("domain = ", "domain = 'x'", "[release]\nproduct = 'owncloud'"):
        with pytest.raises(Fault, match="converge the box again"):
            parse(text)


def pack(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:bz2") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    return path


@pytest.mark.parametrize("stray", ["elsewhere/file", "owncloud/../../escape", "/etc/passwd"])
def test_an_archive_with_anything_beside_its_top_folder_is_refused(tmp_path: Path, stray: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises((Fault, tarfile.TarError)):
        archive.extract(pack(tmp_path / "a.tar.bz2", "owncloud/occ", stray), place, "owncloud")
    assert not (tmp_path / "escape").exists()


def test_an_archive_with_its_top_folder_alone_is_unpacked(tmp_path: Path) -> None:
    archive.extract(pack(tmp_path / "a.tar.bz2", "owncloud/occ"), tmp_path, "owncloud")
    assert (tmp_path / "owncloud/occ").read_bytes() == b"x"


def test_too_little_room_is_a_sentence_with_numbers(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="MB free on the disk of"):
        system.need_room(tmp_path, 1 << 60, "fetching the release")

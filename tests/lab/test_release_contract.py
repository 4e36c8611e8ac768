"""The stand-in for ownCloud (tests/release) answers as ownCloud was seen to: on real PHP, Apache, MariaDB and Redis.

It runs on an Apache and a PHP-FPM of its own, on a host that no deploy converges.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.release import php_host as php

pytestmark = pytest.mark.lab

RELEASE = Path(__file__).resolve().parents[1] / "release"


BASE, PASSWORD, SHIM = php.BASE, php.PASSWORD, php.SHIM
DAV = "/remote.php/dav"
CALENDAR = f"{DAV}/calendars/admin/personal/a.ics"

# OPcache looks at a file again two to three seconds after it last did.
OPCACHE = "sleep 3.2"


@pytest.fixture(scope="module")
def php_host(lab: Any, start: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    start(php.HOST)
    host = php.PhpHost(lab)
    folder = tmp_path_factory.mktemp("releases")
    subprocess.run([sys.executable, RELEASE / "build.py", folder], check=True, capture_output=True)
    host.prepare(folder)
    yield host
    host.remove()


@pytest.fixture
def bare(php_host: Any) -> Any:
    """ownCloud 11.0.0, unpacked, with an empty database and data folder."""
    php_host.empty()
    php_host.place("owncloud-11.0.0.tar.bz2", shim=True)
    return php_host


@pytest.fixture
def cloud(bare: Any) -> Any:
    """ownCloud 11.0.0, installed and serving."""
    assert bare.install().returncode == 0
    return bare


def test_before_the_installation_status_is_a_sentence_and_1(bare: Any) -> None:
    status = bare.occ("status", "--output=json")
    assert status.returncode == 1
    assert status.stdout.startswith("ownCloud is not installed")
    assert "{" not in status.stdout


def test_secret_arguments_come_from_an_auto_prepend_file(bare: Any) -> None:
    assert bare.install(prepend=SHIM).returncode == 1
    assert bare.install(prepend="both.php").returncode == 0
    assert bare.http("PROPFIND", f"{DAV}/files/admin/", user="admin").status == 207


def test_without_the_shim_11_0_0_installs_and_then_every_call_dies(bare: Any) -> None:
    assert bare.install(prepend="secrets.php").returncode == 0
    status = bare.occ("status", "--output=json", prepend="")
    assert status.returncode == 1
    assert r'Class "\OC\DB\AdapterMySQL" not found' in status.stdout
    assert bare.occ("status", "--output=json").returncode == 0


def test_after_the_installation_status_has_neither_maintenance_nor_need_of_upgrade(cloud: Any) -> None:
    status = json.loads(cloud.occ("status", "--output=json").stdout)
    assert status == {"installed": True, "version": "11.0.0.4", "versionstring": "11.0.0", "edition": "Community"}
    assert cloud.occ("status", "-e").returncode == 1
    seen = json.loads(cloud.http("GET", "/status.php").body)
    assert (seen["installed"], seen["maintenance"], seen["needsDbUpgrade"]) == (True, False, False)


def test_an_aborted_installation_stands_in_the_way_of_the_next(cloud: Any) -> None:
    assert cloud.install().returncode == 1
    cloud.sh(f"rm {BASE}/tree/config/config.php")
    again = cloud.install()
    assert (again.returncode, again.stdout.strip()) == (1, "The username is already being used")


def test_a_database_or_data_folder_that_cannot_be_used_is_refused(bare: Any) -> None:
    assert "Can't create or write into the data directory" in bare.install(data="/proc/data").stdout
    bare.sh("mariadb -e 'DROP DATABASE standin'")
    assert "the database is not usable" in bare.install().stdout
    assert bare.occ("status").returncode == 1


def test_occ_runs_as_the_owner_of_the_configuration_only(cloud: Any) -> None:
    refused = cloud.occ("status", user="root")
    assert refused.returncode == 1
    assert "has to be executed with the user that owns the file config/config.php" in refused.stdout


def test_the_exit_statuses_of_the_table(cloud: Any) -> None:
    assert cloud.occ("upgrade").returncode == 3
    assert [cloud.occ("app:enable", name).returncode for name in ("calendar", "calendar", "nowhere")] == [0, 0, 1]
    add = ("user:add", "--password-from-env", "--display-name=Jonas Müller", "--group=admin", "jonas")
    assert cloud.occ(*add, password="short").returncode == 1
    assert [cloud.occ(*add, password=PASSWORD).returncode for _ in range(2)] == [0, 1]
    assert json.loads(cloud.occ("user:list", "--output=json").stdout)["jonas"] == {"displayName": "Jonas Müller"}
    assert "calendar" in json.loads(cloud.occ("app:list", "--output=json").stdout)["enabled"]
    missing = cloud.occ("config:system:get", "nowhere")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "geheim" in cloud.occ("config:system:set", "key", "--value=geheim").stdout


def test_cron_php_does_nothing_and_occ_system_cron_does(cloud: Any) -> None:
    cloud.sh(f"cd {BASE}/tree; runuser -u www-data -- php -d auto_prepend_file={BASE}/{SHIM} cron.php")
    assert cloud.occ("config:app:get", "core", "lastcron").returncode == 1
    assert cloud.occ("system:cron").returncode == 0
    assert cloud.occ("config:app:get", "core", "lastcron").stdout.strip().isdigit()


def test_an_edit_of_a_shipped_file_is_found_and_the_htaccess_command_is_none(cloud: Any) -> None:
    assert cloud.occ("maintenance:update:htaccess").returncode == 0
    assert cloud.occ("integrity:check-core").returncode == 0
    cloud.sh(f"echo memory_limit=1M >> {BASE}/tree/.user.ini; sed -i '1i# edited' {BASE}/tree/.htaccess")
    found = cloud.occ("integrity:check-core", "--output=json")
    assert found.returncode == 1
    assert json.loads(found.stdout) == {"INVALID_HASH": [".htaccess", ".user.ini"]}


def test_locking_by_a_redis_that_is_away_makes_every_call_fail(cloud: Any) -> None:
    config = (
        "<?php $CONFIG = ['memcache.locking' => '\\OC\\Memcache\\Redis', 'redis' => ['host' => '%s', 'port' => %d]];"
    )
    path = f"{BASE}/tree/config/hearth.config.php"
    cloud.sh(f"echo {shlex.quote(config % ('/run/away.sock', 0))} > {path}; {OPCACHE}")
    assert cloud.occ("maintenance:repair").returncode == 1
    assert cloud.http("GET", "/status.php").status == 500
    cloud.sh(f"echo {shlex.quote(config % ('127.0.0.1', 6379))} > {path}; {OPCACHE}")
    assert cloud.http("PUT", f"{DAV}/files/admin/a", "text", user="admin").status == 201


def test_maintenance_mode_closes_the_doors_and_says_so(cloud: Any) -> None:
    assert cloud.occ("maintenance:mode", "--on").returncode == 0
    cloud.sh(OPCACHE)
    assert json.loads(cloud.http("GET", "/status.php").body)["maintenance"] is True
    assert cloud.http("GET", "/index.php/login").status == 503
    assert cloud.http("PROPFIND", f"{DAV}/files/admin/", user="admin").status == 503
    assert cloud.occ("upgrade").returncode == 2
    assert cloud.occ("maintenance:mode", "--off").returncode == 0


def test_an_upgrade_ends_maintenance_mode_and_a_downgrade_is_refused(cloud: Any) -> None:
    assert cloud.http("PUT", CALENDAR, "BEGIN:VCALENDAR", user="admin").status == 201
    cloud.occ("maintenance:mode", "--on")
    cloud.place("owncloud-11.0.1.tar.bz2", shim=False)
    assert json.loads(cloud.http("GET", "/status.php").body)["needsDbUpgrade"] is True
    assert cloud.occ("upgrade", prepend="").returncode == 0
    assert cloud.occ("upgrade", prepend="").returncode == 3
    cloud.sh(OPCACHE)
    seen = json.loads(cloud.http("GET", "/status.php").body)
    assert (seen["versionstring"], seen["maintenance"], seen["needsDbUpgrade"]) == ("11.0.1", False, False)
    assert cloud.http("GET", CALENDAR, user="admin").body == "BEGIN:VCALENDAR"
    cloud.place("owncloud-11.0.0.tar.bz2", shim=True)
    refused = cloud.occ("upgrade")
    assert refused.returncode == 1
    assert "Downgrading is not supported" in refused.stdout
    assert cloud.http("GET", "/status.php").status == 500


def test_the_failing_upgrade_leaves_what_only_the_dump_mends(cloud: Any) -> None:
    cloud.http("PUT", CALENDAR, "BEGIN:VCALENDAR", user="admin")
    cloud.sh(f"mariadb-dump standin > {BASE}/run/dump.sql; cp -a {BASE}/tree/config/config.php {BASE}/run/")
    cloud.place("owncloud-11.0.2.tar.bz2", shim=False)
    assert cloud.occ("upgrade", prepend="").returncode == 5
    cloud.sh(OPCACHE)
    seen = json.loads(cloud.http("GET", "/status.php").body)
    assert (seen["maintenance"], seen["needsDbUpgrade"]) == (True, True)
    cloud.sh(f"cp -a {BASE}/run/config.php {BASE}/tree/config/")
    cloud.place("owncloud-11.0.0.tar.bz2", shim=True)
    assert cloud.http("GET", CALENDAR, user="admin").status == 500
    cloud.sh(f"mariadb -e 'DROP DATABASE standin; CREATE DATABASE standin'; mariadb standin < {BASE}/run/dump.sql")
    assert cloud.http("GET", CALENDAR, user="admin").body == "BEGIN:VCALENDAR"


def test_nextcloud_differs_where_it_was_seen_to(bare: Any) -> None:
    bare.place("nextcloud-35.0.1.tar.bz2", shim=False)
    before = bare.occ("status", "--output=json", prepend="")
    assert (before.returncode, json.loads(before.stdout)["installed"]) == (0, False)
    assert bare.install(prepend="both.php").returncode != 0, "a shim meant for ownCloud breaks it"
    assert bare.install(prepend="secrets.php").returncode == 0
    status = json.loads(bare.occ("status", "--output=json", prepend="").stdout)
    assert (status["maintenance"], status["needsDbUpgrade"]) == (False, False)
    assert bare.occ("status", "-e", prepend="").returncode == 0
    assert bare.occ("upgrade", prepend="").returncode == 0
    assert json.loads(bare.occ("user:list", "--output=json", prepend="").stdout) == {"admin": "admin"}
    assert bare.occ("system:cron", prepend="").returncode == 1
    bare.sh(f"cd {BASE}/tree; runuser -u www-data -- php -f cron.php")
    assert bare.occ("config:app:get", "core", "lastcron", prepend="").returncode == 0


def test_files_travel_by_webdav(cloud: Any) -> None:
    home = f"{DAV}/files/admin"
    assert cloud.http("PUT", f"{home}/a", "first", user="admin").status == 201
    assert cloud.http("PUT", "/remote.php/webdav/a", "second", user="admin").status == 204
    assert cloud.http("MKCOL", f"{home}/sub%20%C3%A4", user="admin").status == 201
    there = f"http://localhost:8081{home}/sub%20%C3%A4/b"
    assert cloud.http("MOVE", f"{home}/a", user="admin", Destination=there).status == 201
    got = cloud.http("GET", f"{home}/sub%20%C3%A4/b", user="admin")
    assert (got.body, got.headers["Content-Length"]) == ("second", "6")
    part = cloud.http("GET", f"{home}/sub%20%C3%A4/b", user="admin", Range="bytes=1-2")
    assert (part.status, part.body) == (206, "ec")
    listing = cloud.http("PROPFIND", f"{home}/", user="admin", Depth="1")
    assert listing.status == 207
    assert re.findall(r"<d:href>(.*?)</d:href>", listing.body) == [f"{home}/", f"{home}/sub%20%C3%A4/"]
    assert cloud.http("DELETE", f"{home}/sub%20%C3%A4", user="admin").status == 204
    assert cloud.http("GET", f"{home}/sub%20%C3%A4/b", user="admin").status == 404


def test_a_chunked_upload_is_put_together(cloud: Any) -> None:
    folder = f"{DAV}/uploads/admin/one"
    assert cloud.http("MKCOL", folder, user="admin").status == 201
    for number, text in ((2, "world"), (1, "hello ")):
        assert cloud.http("PUT", f"{folder}/0000{number}", text, user="admin").status == 201
    there = f"http://localhost:8081{DAV}/files/admin/whole"
    assert cloud.http("MOVE", f"{folder}/.file", user="admin", Destination=there).status == 201
    assert cloud.http("GET", f"{DAV}/files/admin/whole", user="admin").body == "hello world"


def test_a_body_that_does_not_fit_into_the_spool_leaves_nothing(cloud: Any) -> None:
    cloud.sh(f"mount -t tmpfs -o size=1M,uid=www-data none {BASE}/tmp")
    try:
        answer = cloud.http("PUT", f"{DAV}/files/admin/big", 3_000_000, user="admin")
    finally:
        cloud.sh(f"umount {BASE}/tmp")
    assert answer.status == 400
    assert re.search(r"expected filesize 3000000 got \d+", answer.body)
    assert cloud.sh(f"ls -A {BASE}/data/admin/files") == ""


def test_nobody_reaches_what_is_not_theirs(cloud: Any) -> None:
    assert cloud.http("PROPFIND", f"{DAV}/files/admin/").status == 401
    assert cloud.http("PROPFIND", f"{DAV}/files/somebody/", user="admin").status == 403
    for climb in ("../../secret", "%2e%2e/%2e%2e/secret", "sub/..%2f..%2fsecret"):
        assert cloud.http("PUT", f"{DAV}/files/admin/{climb}", "x", user="admin").status in (400, 404), climb
    assert cloud.http("GET", "/status.php", Host="elsewhere.example").status == 400
    for path in ("config/config.php", "data/x", "lib/base.php", "occ", ".htaccess", ".user.ini"):
        assert cloud.http("GET", f"/{path}").status in (403, 404), path


def test_calendar_and_contacts_are_there_from_the_start(cloud: Any) -> None:
    for name in ("caldav", "carddav"):
        answer = cloud.http("GET", f"/.well-known/{name}")
        assert (answer.status, answer.headers["Location"]) == (301, "http://localhost:8081/remote.php/dav/")
    for path in ("calendars/admin/personal/", "addressbooks/users/admin/contacts/"):
        assert cloud.http("PROPFIND", f"{DAV}/{path}", user="admin").status == 207


def test_the_page_says_what_it_is(cloud: Any) -> None:
    assert "This is a stand-in, not ownCloud" in cloud.http("GET", "/index.php/login").body

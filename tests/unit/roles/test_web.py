"""PHP's and Apache's settings: every limit from the inventory's one value, nothing that trusts localhost."""

from __future__ import annotations

import re
from dataclasses import replace

from roles import apache, php

from .samples import CLOUD, HOUSEHOLD


def pool_values(text: str) -> dict[str, str]:
    return dict(re.findall(r"^php_admin_(?:value|flag)\[(\w+(?:\.\w+)?)\] = (.+)$", text, re.MULTILINE))


def test_one_upload_limit_sets_every_knob_in_bytes() -> None:
    values = pool_values(php.pool(CLOUD))
    assert values["upload_max_filesize"] == values["post_max_size"] == str(3000 * 1024 * 1024)
    assert values["memory_limit"] == str(512 * 1024 * 1024)
    assert values["output_buffering"] == "0"
    assert "LimitRequestBody 3145728000\n" in apache.site(HOUSEHOLD)
    assert 'RewriteCond expr "%{HTTP:Content-Length} -gt 3145728000"' in apache.site(HOUSEHOLD)


def test_uploads_are_spooled_on_the_data_disk_that_the_spool_rule_makes() -> None:
    spool = pool_values(php.pool(CLOUD))["upload_tmp_dir"]
    assert spool.startswith("/srv/hearth/")
    rule = next(str(file.content) for file in php.artefacts_of(CLOUD) if file.path.startswith("/etc/tmpfiles.d/"))
    assert f"d {spool} 0700 www-data www-data" in rule


def test_a_moved_pin_changes_nothing_for_the_release_that_still_serves() -> None:
    other = replace(CLOUD, release=replace(CLOUD.release, version="11.0.1", ignore_deprecations=False))
    assert "owncloud-prepend.php" in php.prepend(CLOUD)
    assert php.artefacts_of(other) == php.artefacts_of(CLOUD)


def test_what_announces_no_length_is_judged_after_spooling_on_the_data_disk() -> None:
    assert "(3145728000);" in php.prepend(CLOUD)
    assert pool_values(php.pool(CLOUD))["auto_prepend_file"] == php.PREPEND
    unit = apache.unit(CLOUD.upload_limit)
    assert "TMPDIR=/srv/hearth/spool" in unit
    assert "LimitFSIZE=6291456000" in unit
    assert "LimitFSIZE=2147483648" in apache.unit(1 << 20)


def test_the_pool_continues_debians_own_instead_of_running_a_second_one() -> None:
    sections = re.findall(r"^\[(\w+)\]$", php.pool(CLOUD), re.MULTILINE)
    assert sections == ["www"]


def test_http_goes_to_https_and_https_names_scheme_and_public_port() -> None:
    site = apache.site(HOUSEHOLD)
    plain, secure = site.split("<VirtualHost *:443>")
    assert "Redirect permanent / https://mueller.home.example/" in plain
    assert "DocumentRoot" not in plain
    assert "ServerName https://mueller.home.example:443" in secure
    assert "UseCanonicalName On" in secure


def test_nothing_trusts_localhost() -> None:
    text = apache.site(HOUSEHOLD) + apache.server_settings(HOUSEHOLD.domain)
    assert "Require local" not in text
    assert "server-status" not in text
    assert "/etc/apache2/mods-enabled/status.load" in apache.UNWANTED


def test_modules_are_enabled_as_debian_does_it() -> None:
    links = {link.path: link.target for link in apache.module_links()}
    assert links["/etc/apache2/mods-enabled/ssl.conf"] == "../mods-available/ssl.conf"
    assert "/etc/apache2/mods-enabled/rewrite.conf" not in links

"""The owncloud role: what the box is told."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import time

from hearth.inventory.model import CloudUser, Household, Updates, Window
from roles.owncloud import program_files, render, unit_files
from roles.owncloud.facts import CloudStatus, parse_status
from roles.owncloud.onbox.settings import Account, parse

from . import samples

RELEASE = replace(samples.RELEASE, sha256="AB" * 32, mirrors=("https://mirror.example/o.tar.bz2",))
HOUSEHOLD = replace(
    samples.HOUSEHOLD,
    time_zone="Europe/Vienna",
    owncloud=replace(
        samples.CLOUD,
        release=RELEASE,
        users=(CloudUser("jonas", 'Jonas "Joe" Müller'), CloudUser("renate", "Renate", admin=True)),
    ),
    updates=Updates(Window(time(23, 30), time(1, 30))),
)


def unit(household: Household, name: str) -> str:
    content = next(file.content for file in unit_files(household) if file.path.endswith(f"/{name}"))
    assert isinstance(content, str)
    return content


def test_what_the_operator_describes_is_what_the_box_reads() -> None:
    settings = parse(render.description(HOUSEHOLD))

    assert settings.pin.version == "11.0.0"
    assert settings.pin.sha256 == "ab" * 32
    assert settings.pin.urls == (RELEASE.url, *RELEASE.mirrors)
    assert settings.pin.ignore_deprecations
    assert settings.users == (Account("jonas", 'Jonas "Joe" Müller', False), Account("renate", "Renate", True))
    assert (settings.domain, settings.when, settings.apps) == ("mueller.home.example", "window", ("calendar",))


def test_the_first_admin_of_the_inventory_is_who_the_install_makes() -> None:
    assert parse(render.description(HOUSEHOLD)).admin.name == "renate"


def test_a_household_behind_another_port_has_it_in_its_address() -> None:
    assert render.public_url(HOUSEHOLD) == "https://mueller.home.example"
    assert render.public_url(replace(HOUSEHOLD, public_port=443)) == "https://mueller.home.example"
    assert render.public_url(replace(HOUSEHOLD, public_port=8443)) == "https://mueller.home.example:8443"


def test_the_description_is_toml_and_says_whose_it_is() -> None:
    text = render.description(HOUSEHOLD)
    assert text.startswith("# This file belongs to hearth")
    assert set(tomllib.loads(text)) == {"domain", "url", "when", "apps", "release", "web", "users"}


def test_the_nightly_update_starts_inside_the_window_in_the_households_time_zone() -> None:
    line = next(row for row in unit(HOUSEHOLD, "hearth-cloud-update.timer").splitlines() if "OnCalendar" in row)
    moment, zone = line.removeprefix("OnCalendar=*-*-* ").split(" ")
    assert zone == "Europe/Vienna"
    assert moment >= "23:30:00" or moment < "01:30:00"


def test_households_do_not_update_all_at_once() -> None:
    timers = {render.update_timer(HOUSEHOLD.updates, f"house{n}", "UTC") for n in range(40)}
    assert len(timers) > 20


def test_background_jobs_run_as_each_product_wants_them() -> None:
    cloud = replace(HOUSEHOLD.owncloud, release=replace(RELEASE, product="nextcloud", ignore_deprecations=False))
    nextcloud = replace(HOUSEHOLD, owncloud=cloud)

    assert "occ system:cron" in unit(HOUSEHOLD, "hearth-cloud-cron.service")
    assert "auto_prepend_file=/usr/lib/hearth/owncloud-prepend.php" in unit(HOUSEHOLD, "hearth-cloud-cron.service")
    assert "OnUnitActiveSec=15min" in unit(HOUSEHOLD, "hearth-cloud-cron.timer")
    assert "-f cron.php" in unit(nextcloud, "hearth-cloud-cron.service")
    assert "OnUnitActiveSec=5min" in unit(nextcloud, "hearth-cloud-cron.timer")


def test_every_file_of_the_role_says_that_it_belongs_to_hearth() -> None:
    for file in (*program_files(HOUSEHOLD), *unit_files(HOUSEHOLD)):
        assert isinstance(file.content, str)
        assert "This file belongs to hearth" in "".join(file.content.splitlines()[:2]), file.path


def test_on_a_bare_host_everything_is_pending() -> None:
    assert CloudStatus.default().pending, "what pyinfra takes when nothing is printed"
    assert parse_status([], "fetch").pending
    assert parse_status(["{}"], "fetch").pending
    assert parse_status(["no json"], "fetch").pending


def test_a_step_is_pending_only_when_the_box_says_so() -> None:
    said = ['{"pending": ["upgrade"], "sentence": "11.0.2 is refused: it failed"}']
    assert parse_status(said, "upgrade").pending
    assert not parse_status(said, "fetch").pending
    assert parse_status(said, "fetch").sentence == "11.0.2 is refused: it failed"

"""The second product, on a second household's box, from a bare host in one go."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hearth.lab.lab import Lab
from tests.lab.boxes import Converge, Operator
from tests.lab.clouds import SCHMIDT, pin, serves, status

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def operator(lab: Lab, lab_inventory: Path, bare: str, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """The operator of schmidt's box on its first day; the fleet pins both products."""

    def take_nextcloud(fleet: dict[str, Any], household: dict[str, Any]) -> None:
        fleet["releases"].append(pin("35.0.1", "nextcloud"))
        household["owncloud"] |= {"product": "nextcloud", "apps": ["calendar"]}

    lab.start_from(SCHMIDT, bare)
    first = Operator(lab, lab_inventory, SCHMIDT, "schmidt.home.example")
    return first.with_fleet(tmp_path_factory.mktemp("nextcloud") / "inventory", take_nextcloud)


@pytest.fixture(scope="module")
def first(operator: Operator) -> Converge:
    """Its first converge."""
    return operator.converge()


def test_a_bare_host_becomes_a_nextcloud_in_one_go(operator: Operator, first: Converge) -> None:
    assert first.status == 0, first.output[-3000:]
    assert "owncloud | Install Nextcloud 35.0.1" in first.changed
    assert serves(operator, "35.0.1")
    assert status(operator)["productname"] == "Nextcloud"


def test_a_second_converge_changes_nothing(operator: Operator, first: Converge) -> None:
    run = operator.converge()
    assert (run.status, run.changed) == (0, [])
    assert len(run.results) == len(first.results)


def test_a_file_goes_up_and_comes_back(operator: Operator, first: Converge, tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_text("Liebe Grüße\n" * 100_000)
    path = "/remote.php/dav/files/paul/letter.txt"
    assert operator.curl(path, "--upload-file", str(letter), user="paul").status == 201
    assert operator.curl(path, user="paul").body == letter.read_text()


def test_its_users_and_background_jobs_are_as_the_product_wants_them(
    operator: Operator, first: Converge, occ: Callable[..., str]
) -> None:
    assert json.loads(occ("user:list", "--output=json")) == {"paul": "Paul Schmidt"}
    operator.lab.exec(SCHMIDT, ["systemctl", "start", "hearth-cloud-cron.service"])
    assert int(occ("config:app:get", "core", "lastcron")) > 0


@pytest.fixture
def occ(operator: Operator) -> Callable[..., str]:
    """Run occ on the box as people do."""

    def run(*words: str) -> str:
        command = ["runuser", "-u", "www-data", "--", "php", "/srv/hearth/www/owncloud/occ", *words]
        return operator.lab.exec(SCHMIDT, command).stdout

    return run


def test_its_updates_run_in_the_households_own_window_and_time_zone(operator: Operator, first: Converge) -> None:
    asked = ["systemctl", "show", "hearth-cloud-update.timer", "--property=TimersCalendar"]
    told = operator.lab.exec(SCHMIDT, asked).stdout
    assert re.search(r"OnCalendar=\*-\*-\* (23:[345]|00:[012])\d:\d\d Europe/Vienna", told), told

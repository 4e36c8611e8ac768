"""What a box is told of its backup."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

from hearth import artefacts, layout
from hearth.inventory.hosts import Box
from hearth.inventory.model import Store
from roles import backup
from roles.backup.facts import Step, parse_status
from tests.unit.roles.samples import BOX, HOUSEHOLD

STORE = Store("relay1", "127.0.0.1", 2222, on_relay=True, certificate="PEM\n")


def with_backup(certificate: str | None = "PEM\n", **changes: Any) -> Box:
    """The sample box with another backup."""
    household = replace(HOUSEHOLD, backup=replace(HOUSEHOLD.backup, **changes))
    store = replace(STORE, certificate=certificate) if household.backup.store else None
    return replace(BOX, household=household, store=store)


AT_STORE = with_backup(store="relay1", upload_limit_kib_s=512)
ELSEWHERE = with_backup(repository="s3:https://s3.example/b")


def texts(box: Box) -> dict[str, str]:
    """The files that the role puts, by path."""
    return {each.path: each.raw.decode() for each in backup.files(box) if isinstance(each, artefacts.File)}


def test_a_store_is_reached_through_the_tunnel_by_the_certificate_that_was_collected() -> None:
    told = tomllib.loads(backup.description(AT_STORE))
    assert told["repository"] == f"rest:https://127.0.0.1:{layout.STORE_TUNNEL_PORT}/mueller/"
    assert told["prune"] == f"rest:https://127.0.0.1:{layout.STORE_PRUNE_TUNNEL_PORT}/mueller/"
    assert (told["store"], told["upload_limit_kib_s"], told["admins"]) == (True, 512, ["renate"])
    assert texts(AT_STORE)[layout.STORE_PEM] == "PEM\n"
    assert layout.STORE_PEM not in texts(with_backup(certificate=None, store="relay1"))


def test_a_repository_elsewhere_gets_its_credential_from_the_box() -> None:
    told = tomllib.loads(backup.description(ELSEWHERE))
    assert (told["repository"], told["store"], "prune" in told) == ("s3:https://s3.example/b", False, False)
    page = f"/etc/systemd/system/{backup.PAGE}"
    assert "LoadCredential=repository.env:/etc/hearth/secrets/repository.env" in texts(ELSEWHERE)[page]
    assert "LoadCredential=store-password:/etc/hearth/secrets/store-password" in texts(AT_STORE)[page]
    assert "backup-key" not in texts(AT_STORE)[page], "the page has no key that opens the repository by itself"


def test_a_repository_by_sftp_gets_the_boxs_own_key_and_no_file_to_fill_in() -> None:
    box = with_backup(repository="sftp:m@nas.example:/m")
    page = texts(box)[f"/etc/systemd/system/{backup.PAGE}"]
    assert "LoadCredential=repository-ssh-key:/etc/hearth/secrets/repository-ssh-key" in page
    assert "repository.env" not in page


def test_the_box_backs_up_in_its_households_window_and_not_before_it_is_restored() -> None:
    timer = texts(AT_STORE)[f"/etc/systemd/system/{backup.TIMER}"]
    assert "OnCalendar=*-*-* 03:" in timer
    assert "Europe/Berlin" in timer
    waiting = replace(AT_STORE, household=replace(AT_STORE.household, restore_from="old"))
    assert f"/etc/systemd/system/{backup.TIMER}" not in texts(waiting)
    assert backup.TIMER in backup.services(AT_STORE.household)
    assert backup.TIMER not in backup.services(waiting.household)


def test_a_household_without_a_backup_needs_nothing_for_it() -> None:
    none = with_backup(store=None).household
    assert (backup.packages(none), backup.services(none)) == ((), ())
    assert "restic" in backup.packages(AT_STORE.household)


def test_a_household_without_an_admin_has_the_account_of_the_install() -> None:
    cloud = replace(HOUSEHOLD.owncloud, users=())
    nobody = replace(AT_STORE, household=replace(AT_STORE.household, owncloud=cloud))
    assert tomllib.loads(backup.description(nobody))["admins"] == ["hearth-admin"]


def test_a_box_without_the_program_has_everything_before_it() -> None:
    assert parse_status([]) == Step(pending=True)
    assert parse_status(['{"pending": false, "sentence": "the backup waits: x"}']) == Step(False, "the backup waits: x")

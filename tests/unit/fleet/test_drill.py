"""A drill's throw-away box: its inventory holds, and reaches nothing of the real fleet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from typer.testing import CliRunner

from hearth import drill
from hearth.cli import app
from hearth.inventory import load_or_raise
from hearth.inventory.hosts import Fleet
from hearth.lab.lab import Lab
from roles import certs, dynamic_dns, router_port, tunnel
from tests.unit.inventory.conftest import fleet_folder

__all__ = ["fleet_folder"]

TODAY = date(2026, 11, 23)


@pytest.fixture
def fleet(fleet_folder: Path) -> Fleet:
    """A fleet with a store, whose Müllers have a certificate by ACME and ask their router for ports."""
    told = fleet_folder / "fleet.yaml"
    told.write_text(told.read_text() + "stores: [{name: relay1}]\n")
    household = fleet_folder / "households/mueller.yaml"
    more = (
        "access: upnp\ndynamic_dns: {server: ns.home.example, zone: home.example}\n"
        "certificates: {issuer: acme}\nbackup: {window: 01:00-02:00, quota: 10G}\n"
    )
    household.write_text(household.read_text() + more)
    told.write_text(told.read_text().replace("issuer: operator", "issuer: operator\n  contact: anna@home.example"))
    return load_or_raise(fleet_folder)


def test_the_throw_away_box_restores_from_the_household_and_reaches_nothing_of_the_fleet(
    fleet: Fleet, tmp_path: Path
) -> None:
    household = fleet.households[0]
    made = load_or_raise(drill.inventory_of_one(fleet, household, tmp_path, TODAY))
    (box,) = made.boxes()
    assert box.name == drill.BOX
    assert box.household.restore_from == household.id
    assert box.household.awaits_restore
    assert box.household.owncloud == household.owncloud, "the same release, users and apps"
    assert box.household.backup.is_made, "the program that restores is a part of the backup's"
    assert not tunnel.has_tunnel(box), "no relay's key is in its inventory"
    assert certs.services(box) == ()
    assert not dynamic_dns.is_wanted(box)
    assert not router_port.is_wanted(box.household)
    assert made.authority is None, "the fleet's own authority signs nothing for it"


def test_what_the_fleet_says_for_all_households_counts_on_the_throw_away_box(fleet: Fleet, tmp_path: Path) -> None:
    told = fleet.folder / "fleet.yaml"
    more = "defaults: {owncloud: {memory_limit: 777M}, backup: {enabled: false}}\n"
    told.write_text(told.read_text().partition("defaults:")[0] + more)
    household = fleet.folder / "households/mueller.yaml"
    household.write_text(household.read_text().replace("quota: 10G", "quota: 10G, enabled: true"))
    other = load_or_raise(fleet.folder)
    made = load_or_raise(drill.inventory_of_one(other, other.households[0], tmp_path, TODAY))
    (box,) = made.boxes()
    assert box.household.owncloud == other.households[0].owncloud
    assert box.household.backup.is_made


class Box(Lab):
    """A throw-away box on which ``hearth-restore`` ends with these complaints, one a try."""

    def __init__(self, *complaints: str) -> None:
        self.complaints = [*complaints]

    def exec(self, host: str, argv: Sequence[str], **_: object) -> CompletedProcess[str]:
        if argv[0] != "hearth-restore":
            return CompletedProcess(argv, 0, '{"source": "mueller"}', "")
        complaint = self.complaints.pop(0)
        return CompletedProcess(argv, 1 if complaint else 0, "", f"hearth-restore: {complaint}\n")


STRANGE = "this key is written without a mistake, and it does not open the backup of mueller: take the sheet …"
MISTYPED = "group 3 (ABCDE) is mistyped; nothing was changed"
DAMAGED = "the backup is damaged and cannot be read (…); try an older one, and tell the operator"


@pytest.mark.parametrize(
    ("complaints", "keys", "outcome"),
    [
        ((STRANGE, MISTYPED, ""), ("one", "two", "three"), None),
        ((STRANGE,), ("one",), STRANGE),
        ((MISTYPED,) * 3, ("one", "two", "three", "four"), MISTYPED),
        ((DAMAGED, ""), ("one", "two"), DAMAGED),
        ((), (), "nobody typed the key on the sheet of mueller"),
    ],
)
def test_a_key_may_be_typed_again_and_what_it_opens_may_not_be_damaged(
    fleet: Fleet, complaints: tuple[str, ...], keys: tuple[str, ...], outcome: str | None
) -> None:
    typed, refusals = iter(keys), list[str]()

    def ask(refusal: str) -> str:
        refusals.append(refusal)
        return next(typed, "")

    def measured(name: str, title: str) -> AbstractContextManager[None]:
        return nullcontext()

    if outcome is None:
        assert drill.restored(Box(*complaints), fleet.households[0], ask, measured) == {"source": "mueller"}
        assert refusals == ["", *complaints[:-1]], "each is told before another is asked for"
    else:
        with pytest.raises(drill.DrillError) as fault:
            drill.restored(Box(*complaints), fleet.households[0], ask, measured)
        assert str(fault.value) == outcome


def test_a_backup_that_is_at_no_store_cannot_be_drilled(fleet: Fleet, fleet_folder: Path) -> None:
    assert drill.store_of(fleet, fleet.households[0]).name == "relay1"
    file = fleet_folder / "households/mueller.yaml"
    elsewhere = "backup: {repository: s3:https://s3.home.example/backups/mueller}\n"
    file.write_text(file.read_text().partition("backup:")[0] + elsewhere)
    other = load_or_raise(fleet_folder)
    with pytest.raises(drill.DrillError, match="goes to s3:https://"):
        drill.store_of(other, other.households[0])


def test_the_command_says_where_a_real_restore_is_typed_and_knows_the_households(fleet_folder: Path) -> None:
    run = CliRunner().invoke(app, ["restore"])
    assert run.exit_code == 1
    assert "a real restore is typed on the new box: sudo hearth-restore" in run.output
    run = CliRunner().invoke(app, ["restore", "--drill", "muller", "--inventory", str(fleet_folder)])
    assert run.exit_code == 1
    assert 'there is no household muller; did you mean "mueller"?' in run.output

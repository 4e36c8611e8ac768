"""A drill's throw-away box: its inventory holds, and reaches nothing of the real fleet."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hearth import drill
from hearth.cli import app
from hearth.inventory import load_or_raise
from hearth.inventory.hosts import Fleet
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

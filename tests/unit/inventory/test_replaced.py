"""A box that is restored from another's backup: who serves, who is let in and what is said, before and after."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from hearth.fleet import moves
from hearth.fleet.conduct import announcement
from hearth.fleet.plan_model import Plan
from hearth.fleet.plan_text import data, lines, markdown
from hearth.fleet.removal import Removals
from hearth.inventory import load, load_or_raise
from hearth.inventory.groups import groups
from hearth.inventory.hosts import Box, Fleet
from hearth.zone import records
from roles import certs, dynamic_dns, health, router_port
from roles.backup import takeover
from roles.router.render import maps
from roles.tunnel_server.accounts import household_account, support_accounts

KEYS = {
    "mueller": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMIvScik939+AuX714xMbrQJMOfQtSEVEM3CbJtNkYb",
    "mueller2": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIsCbkhXTXsHzBYmBWoNiMN0zGsJArQ6lcN67nWNsYFU",
}
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFtvhZ0LNx2VFgHFxQWwgk4JaVZGBeyBsMz3PeGP2Kds"
NAME = "mueller.home.example"


@pytest.fixture
def folder(fleet_folder: Path) -> Path:
    """The good fleet in which the Müllers' box burnt down: the new one's file differs in id and slot alone."""
    text = (fleet_folder / "households/mueller.yaml").read_text()
    text = text.replace("id: mueller", "id: mueller2").replace("slot: 17", "slot: 27")
    (fleet_folder / "households/mueller2.yaml").write_text(text + "restore: {from: mueller}\n")
    for household, key in KEYS.items():
        collect(fleet_folder, household, f"tunnel_key: {key}\n")
    return fleet_folder


def collect(folder: Path, household: str, text: str) -> None:
    (folder / "collected").mkdir(exist_ok=True)
    with (folder / f"collected/box-{household}.yaml").open("a") as file:
        file.write(text if file.tell() else f"host_keys: [{HOST_KEY}]\n{text}")


def restored(folder: Path) -> Fleet:
    collect(folder, "mueller2", 'restored: {from: mueller, at: "2026-11-23T08:30:00Z"}\n')
    return load_or_raise(folder)


def boxes(fleet: Fleet) -> dict[str, Box]:
    return {box.household.id: box for box in fleet.boxes()}


def relay_of(fleet: Fleet) -> tuple[str, list[str], list[str]]:
    """Where the name leads, whose keys open tunnels, and whose screens are helped, as the servers' files have it."""
    relay = fleet.relay_hosts()[0]
    routes = dict(line.split() for line in maps(relay)["hosts.map"].splitlines()[1:])
    keys = [line.name for line in household_account(relay.households).keys]
    screens = [line.name for line in support_accounts(fleet.pi_hosts()[0])[0].keys if line.name.startswith("mueller")]
    return routes[NAME], keys, screens


def test_before_the_restore_the_name_the_screens_and_both_tunnels_are_as_they_were(folder: Path) -> None:
    fleet = load_or_raise(folder)

    route, keys, screens = relay_of(fleet)

    assert route == "127.10.0.17"
    assert [each for each in keys if each in KEYS] == ["mueller", "mueller2"], "the new box is reached to be converged"
    assert [each.partition("/")[0] for each in screens] == ["mueller"]
    assert [each.name for each in records(fleet) if each.name == NAME] == [NAME]
    assert {"mueller", "mueller2"} <= set(boxes(fleet))


def test_before_the_restore_no_certificate_is_asked_for_on_the_new_box(folder: Path) -> None:
    new = boxes(load_or_raise(folder))["mueller2"]
    by_acme = replace(new, certificates=replace(new.certificates, issuer="acme"))
    assert certs.services(by_acme) == ()
    assert not health.of_box(new, (), None).data.get("web"), "nobody comes there, and the bridge is no fault"


def test_before_the_restore_the_new_box_takes_neither_the_routers_port_nor_the_names_address(folder: Path) -> None:
    for household in ("mueller", "mueller2"):
        file = folder / f"households/{household}.yaml"
        dns = "access: upnp\ndynamic_dns: {server: ns.home.example, zone: home.example}\n"
        file.write_text(file.read_text() + dns)
    before = boxes(load_or_raise(folder))
    assert [router_port.is_wanted(before[each].household) for each in KEYS] == [True, False]
    assert [dynamic_dns.is_wanted(before[each]) for each in KEYS] == [True, False]
    after = boxes(restored(folder))
    assert router_port.is_wanted(after["mueller2"].household)
    assert dynamic_dns.is_wanted(after["mueller2"])


def test_after_the_restore_one_converge_moves_all_of_it(folder: Path) -> None:
    fleet = restored(folder)

    route, keys, screens = relay_of(fleet)

    assert route == "127.10.0.27"
    assert [each for each in keys if each in KEYS] == ["mueller2"], "whoever has the old box gets no tunnel"
    assert [each.partition("/")[0] for each in screens] == ["mueller2"]
    assert "mueller" not in boxes(fleet), "a box that is gone is not asked for"
    new = boxes(fleet)["mueller2"]
    assert certs.services(replace(new, certificates=replace(new.certificates, issuer="acme")))
    assert health.of_box(new, (), None).data["web"]["domain"] == NAME


def test_once_the_old_file_is_deleted_and_then_the_restore_line_nothing_changes_any_more(folder: Path) -> None:
    after = relay_of(restored(folder))
    (folder / "households/mueller.yaml").unlink()
    (folder / "collected/box-mueller.yaml").unlink()
    (folder / "local.yaml").unlink()  # it names the old box
    fleet = folder / "fleet.yaml"
    fleet.write_text(fleet.read_text() + "retired: [{slot: 17, since: 2026-11-23, id: mueller}]\n")
    assert relay_of(load_or_raise(folder)) == after
    new = folder / "households/mueller2.yaml"
    new.write_text(new.read_text().replace("restore: {from: mueller}\n", ""))
    assert relay_of(load_or_raise(folder)) == after


def test_two_households_share_a_name_or_a_screen_only_while_one_is_restored_from_the_other(folder: Path) -> None:
    new = folder / "households/mueller2.yaml"
    new.write_text(new.read_text().replace("restore: {from: mueller}\n", ""))
    told = [fault.sentence for fault in load(folder).faults]
    for words in ("the domain", "the screen port", "this SSH key"):
        assert any(words in each and "already taken" in each for each in told), told


def test_a_plan_and_a_run_say_that_the_name_moves_and_what_to_do_then(folder: Path) -> None:
    fleet = restored(folder)
    found = moves.moves(fleet, ["relay1"])
    plan = Plan("example", moves=found)
    sentence = f"{NAME} moves from box-mueller to box-mueller2; box-mueller loses its tunnel's key"
    assert sentence in "\n".join(line.text for line in lines(plan))
    assert sentence in markdown(plan)
    schema = json.loads((Path(__file__).parents[3] / "schemas/plan.schema.json").read_text())
    Draft202012Validator(schema).validate(data(plan))
    assert data(plan)["moves"] == [{"domain": NAME, "from": "mueller", "to": "mueller2"}]
    said = "\n".join(announcement(fleet, (("relay1",), ("box-mueller2",)), (), Removals({}, 3)))
    assert f"Replaced: {sentence}" in said
    assert "delete households/mueller.yaml and let its slot rest" in said
    assert "{slot: 17, since: " in said


def test_nothing_moves_before_the_restore_nor_by_a_run_that_leaves_the_relay_out(folder: Path) -> None:
    assert moves.moves(load_or_raise(folder), ["relay1"]) == ()
    assert moves.moves(restored(folder), ["box-mueller2"]) == ()


def test_a_backup_that_is_at_no_store_is_looked_for_where_the_old_household_kept_it(folder: Path) -> None:
    for household in KEYS:
        file = folder / f"households/{household}.yaml"
        file.write_text(f"{file.read_text()}backup: {{repository: s3:https://s3.home.example/backups/{household}}}\n")
    new = boxes(load_or_raise(folder))["mueller2"]
    told = tomllib.loads(takeover.description(new))
    assert told == {
        "source": "mueller",
        "repository": "s3:https://s3.home.example/backups/mueller",
        "door": {"address": "relay1.home.example", "port": 443, "domain": NAME},
    }


def test_the_box_is_told_of_the_old_one_only_until_it_is_restored(folder: Path) -> None:
    before = boxes(load_or_raise(folder))["mueller2"]
    after = boxes(restored(folder))["mueller2"]
    paths = [[file.path for file in takeover.files(box, "")] for box in (before, after)]
    assert takeover.DESCRIPTION in paths[0]
    assert takeover.DESCRIPTION not in paths[1]
    assert takeover.PROGRAM in paths[1], "it then says that there is nothing to restore"


def test_the_stock_command_has_no_group_for_a_household_whose_box_was_replaced(folder: Path) -> None:
    before = groups(folder)
    restored(folder)
    after = groups(folder)
    assert "household_mueller" in before
    assert "household_mueller" not in after
    assert [name for name, _ in after["household_mueller2"]] == [name for name, _ in before["household_mueller2"]]

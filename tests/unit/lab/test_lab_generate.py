"""The generated fleet: an inventory without a fault, of any size, the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hearth.cli import app
from hearth.inventory import load
from hearth.lab.generate import HOUSEHOLDS_A_RELAY, household, inventory
from hearth.lab.process import LabError


def test_a_generated_inventory_has_as_many_households_as_asked_and_no_fault(tmp_path: Path) -> None:
    for name, text in inventory(45):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    loaded = load(tmp_path)
    assert loaded.faults == ()
    assert loaded.fleet is not None
    assert len(loaded.fleet.households) == 45
    assert all(each.tunnel_key for each in loaded.fleet.households), "as after the first day"
    assert loaded.fleet.relays[0].tunnel_host_keys
    assert sum(len(each.screens) for each in loaded.fleet.households) == 5


def test_the_same_number_gives_the_same_fleet_and_a_larger_one_begins_with_the_smaller() -> None:
    assert dict(inventory(12)) == dict(inventory(12))
    larger = dict(inventory(13))
    assert all(larger[name] == text for name, text in inventory(12))


def test_no_two_households_share_what_must_be_their_own_and_relays_share_the_load() -> None:
    homes = [household(number) for number in range(2 * HOUSEHOLDS_A_RELAY)]
    for name in ("id", "slot", "domain"):
        assert len({home[name] for home in homes}) == len(homes)
    assert {home["relay"] for home in homes} == {"relay1", "relay2"}
    ports = [home["support"]["screens"][0]["port"] for home in homes if "support" in home]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("number", [0, 65_001])
def test_a_number_that_no_fleet_can_have_is_refused(number: int) -> None:
    with pytest.raises(LabError, match="from 1 to 65000"):
        list(inventory(number))


def _generate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["lab", "generate", *arguments])


def test_the_command_writes_a_fleet_without_a_fault_into_a_new_or_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    runs = [_generate("3", str(tmp_path / name)) for name in ("new/fleet", "empty")]

    assert [run.exit_code for run in runs] == [0, 0]
    assert runs[0].output == f"{tmp_path}/new/fleet: an inventory with 3 households\n"
    for folder in (tmp_path / "new" / "fleet", tmp_path / "empty"):
        loaded = load(folder)
        assert loaded.fleet is not None
        assert len(loaded.fleet.households) == 3


@pytest.mark.parametrize(
    ("number", "name", "sentence"),
    [
        ("3", "full", "full: this folder is not empty; give a new one"),
        ("3", "full/file", "full/file: the fleet cannot be written there (Not a directory)"),
        ("0", "new", "0 households: give a number from 1 to 65000"),
        ("65001", "new", "65001 households: give a number from 1 to 65000"),
    ],
)
def test_the_command_writes_nothing_where_it_must_not(tmp_path: Path, number: str, name: str, sentence: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept")

    run = _generate(number, str(tmp_path / name))

    assert run.exit_code == 1
    assert run.output.endswith(f"{sentence}\n")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full"]

"""``hearth check`` and ``hearth show`` as their users run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from hearth.commands import inventory

REPOSITORY = Path(__file__).parents[3]


def _hearth(*arguments: str) -> Result:
    app = typer.Typer()
    app.command("check")(inventory.check)
    app.command("show")(inventory.show)
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def bad_folder(fleet_folder: Path) -> Path:
    mueller = fleet_folder / "households" / "mueller.yaml"
    mueller.write_text(mueller.read_text().replace("slot: 17", "slot: 100%,\n"))
    return fleet_folder


def test_the_example_inventory_has_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)

    run = _hearth("check")

    assert run.output == "inventory: 2 households, 1 relay, 1 store, 1 support Pi, 1 operator, 1 helper, no fault\n"
    assert run.exit_code == 0


def test_check_tells_file_line_column_and_the_way_out(bad_folder: Path) -> None:
    run = _hearth("check", "fleet")

    assert run.exit_code == 1
    assert run.stdout == 'fleet/households/mueller.yaml:3:7: "slot" must be a whole number, not "100%,"\n'


def test_check_tells_programs_the_same(bad_folder: Path) -> None:
    run = _hearth("check", "fleet", "--format", "json")

    told = json.loads(run.stdout)
    assert run.exit_code == 1
    assert told["ok"] is False
    assert told["faults"] == [
        {
            "file": "fleet/households/mueller.yaml",
            "line": 3,
            "column": 7,
            "sentence": '"slot" must be a whole number, not "100%,"',
        }
    ]


def test_check_annotates_a_pull_request(bad_folder: Path) -> None:
    run = _hearth("check", "fleet", "--format", "github")

    assert run.exit_code == 1
    assert run.stdout == (
        '::error file=fleet/households/mueller.yaml,line=3,col=7::"slot" must be a whole number, not "100%25,"\n'
    )


@pytest.mark.parametrize("output", ["text", "json", "github"])
def test_check_of_a_good_inventory_ends_with_0(fleet_folder: Path, output: str) -> None:
    assert _hearth("check", "fleet", "--format", output).exit_code == 0


def test_show_tells_the_household_with_its_defaults(fleet_folder: Path) -> None:
    run = _hearth("show", "mueller", "--inventory", "fleet")

    assert run.exit_code == 0
    for told in ("box-mueller", "127.10.0.17 on relay1", "6000M", "03:00-05:00", "Renate Müller", "17934"):
        assert told in run.stdout


def test_show_tells_the_fleet(fleet_folder: Path) -> None:
    run = _hearth("show", "--inventory", "fleet")

    for told in ("Fleet example", "mueller", "schmidt", "relay1.home.example", "9212"):
        assert told in run.stdout


def test_show_gives_programs_the_resolved_data(fleet_folder: Path) -> None:
    household = json.loads(_hearth("show", "schmidt", "--inventory", "fleet", "--format", "json").stdout)
    fleet = json.loads(_hearth("show", "--inventory", "fleet", "--format", "json").stdout)

    assert household["owncloud"]["memory_limit"] == 512 * 1024**2
    assert household["updates"]["window"] == {"start": "23:30", "end": "01:30"}
    assert (household["box"], household["tunnel_address"]) == ("box-schmidt", "127.10.0.18")
    assert household in fleet["households"]
    relay = {"name": "relay1", "address": "relay1.home.example", "ssh_port": 2222, "tunnel_port": 9212}
    assert fleet["relays"] == [relay | {"tunnel_host_keys": []}]


def test_a_name_with_brackets_is_shown_as_it_is(fleet_folder: Path) -> None:
    mueller = fleet_folder / "households" / "mueller.yaml"
    mueller.write_text(mueller.read_text().replace("Renate Müller", "'[red]Renate[/] [/x]'"))

    assert "[red]Renate[/] [/x]" in _hearth("show", "mueller", "--inventory", "fleet").stdout


def test_show_suggests_the_household_that_was_meant(fleet_folder: Path) -> None:
    run = _hearth("show", "muller", "--inventory", "fleet")

    assert run.exit_code == 1
    assert run.stderr == 'fleet: there is no household "muller"; did you mean "mueller"?\n'


def test_show_of_a_bad_inventory_tells_the_faults(bad_folder: Path) -> None:
    run = _hearth("show", "--inventory", "fleet")

    assert run.exit_code == 1
    assert run.stdout == ""
    assert run.stderr.startswith("fleet/households/mueller.yaml:3:7: ")

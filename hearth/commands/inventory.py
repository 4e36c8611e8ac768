"""``hearth check`` and ``hearth show``: is the inventory good, and what does it come to with the defaults filled in?"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hearth.commands.loading import fleet_or_end
from hearth.commands.options import DEFAULT_INVENTORY, Inventory
from hearth.inventory import Fault, Loaded, load
from hearth.inventory.faults import quoted, shown, suggestion
from hearth.inventory.hosts import Fleet
from hearth.inventory.model import Household
from hearth.inventory.view import fleet_data, fleet_tables, household_data, household_tables


class CheckFormat(StrEnum):
    """How ``check`` tells its faults: for people, for programs, for annotations on a pull request."""

    text = "text"
    json = "json"
    github = "github"


class ShowFormat(StrEnum):
    """How ``show`` tells its data."""

    text = "text"
    json = "json"


def check(
    inventory: Annotated[Path, typer.Argument(help="The folder that holds fleet.yaml.")] = DEFAULT_INVENTORY,
    output: Annotated[CheckFormat, typer.Option("--format", help="How faults are told.")] = CheckFormat.text,
) -> None:
    """Check an inventory: every fault in one run, each with file, line, column and the way out."""
    loaded = load(inventory)
    if output is CheckFormat.json:
        print(json.dumps(_check_data(loaded), indent=2, ensure_ascii=False))
    elif output is CheckFormat.github:
        for fault in loaded.faults:
            print(_github(fault))
    else:
        for fault in loaded.faults:
            print(fault)
    if loaded.fleet is None:
        raise typer.Exit(1)
    if output is not CheckFormat.json:
        print(f"{shown(loaded.fleet.folder)}: {_summary(loaded.fleet)}, no fault")


def show(
    household: Annotated[str | None, typer.Argument(help="A household's id; all of the fleet without.")] = None,
    inventory: Inventory = DEFAULT_INVENTORY,
    output: Annotated[ShowFormat, typer.Option("--format", help="How the data are told.")] = ShowFormat.text,
) -> None:
    """Show the resolved data of a household or of the fleet, with the defaults filled in."""
    fleet = fleet_or_end(inventory)
    one = _household_or_end(fleet, household) if household is not None else None
    if output is ShowFormat.json:
        data = household_data(one) if one else fleet_data(fleet)
        print(json.dumps(data, indent=2, ensure_ascii=False))
        return
    # Imported here: rich costs a tenth of a second that no other command needs to pay.
    from rich.console import Console  # noqa: PLC0415

    # Names come from files: brackets in them are no markup.
    console = Console(highlight=False, markup=False)
    for table in household_tables(one) if one else fleet_tables(fleet):
        console.print(table)


def _household_or_end(fleet: Fleet, wanted: str) -> Household:
    found = next((household for household in fleet.households if household.id == wanted), None)
    if found is None:
        hint = suggestion(wanted, [household.id for household in fleet.households])
        typer.echo(f"{shown(fleet.folder)}: there is no household {quoted(wanted)}{hint}", err=True)
        raise typer.Exit(1)
    return found


def _check_data(loaded: Loaded) -> dict[str, Any]:
    return {
        "ok": loaded.fleet is not None,
        "households": len(loaded.fleet.households) if loaded.fleet else None,
        "faults": [
            {"file": shown(fault.file), "line": fault.line, "column": fault.column, "sentence": fault.sentence}
            for fault in loaded.faults
        ],
    }


def _github(fault: Fault) -> str:
    """The fault as a workflow command; the characters escaped that the format itself uses.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
    """
    file = _escaped(shown(fault.file)).replace(":", "%3A").replace(",", "%2C")
    return f"::error file={file},line={fault.line},col={fault.column}::{_escaped(fault.sentence)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _summary(fleet: Fleet) -> str:
    return ", ".join(
        (
            _counted(len(fleet.households), "household"),
            _counted(len(fleet.relays), "relay"),
            *((_counted(len(fleet.stores), "store"),) if fleet.stores else ()),
            _counted(len(fleet.pis), "support Pi"),
            _counted(len(fleet.operators), "operator"),
            _counted(len(fleet.helpers), "helper"),
        )
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

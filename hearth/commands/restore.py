"""``hearth restore --drill``: see on a throw-away box that a household's backup comes back."""

from __future__ import annotations

import getpass
import json
import sys
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from hearth.commands.loading import fleet_or_end
from hearth.commands.options import DEFAULT_INVENTORY, Inventory
from hearth.interruption import end_once
from hearth.inventory.faults import suggestion
from hearth.lab import progress
from hearth.lab.process import LabError

if TYPE_CHECKING:
    from rich.console import Console

    from hearth.drill import Drilled

USAGE, FAILED = 1, 2
MB = 1_000_000


class DrillFormat(StrEnum):
    """How the outcome is told."""

    text = "text"
    json = "json"


def restore(
    drill: Annotated[str, typer.Option(metavar="HOUSEHOLD", help="Whose backup is tried.")] = "",
    inventory: Inventory = DEFAULT_INVENTORY,
    output: Annotated[DrillFormat, typer.Option("--format", help="How the outcome is told.")] = DrillFormat.text,
) -> None:
    """Restore a household's backup on a throw-away box of this machine's lab, tell how long it took, destroy the box.

    The household types its paper key, which goes to that box alone. Its files are decrypted on this machine: do it
    where the household agrees to that. A real restore is started on the new box: `sudo hearth-restore`.
    Exit status: 0 it came back whole; 1 usage or inventory; 2 it did not.
    """
    if not drill:
        _fail(
            "say whose: hearth restore --drill HOUSEHOLD; a real restore is typed on the new box: sudo hearth-restore"
        )
    fleet = fleet_or_end(inventory)
    household = next((each for each in fleet.households if each.id == drill), None)
    if household is None:
        _fail(f"there is no household {drill}{suggestion(drill, [each.id for each in fleet.households])}")
    # Imported here: rich, pyinfra and paramiko cost a fifth of a second that no other command needs to pay.
    from rich.console import Console  # noqa: PLC0415

    from hearth.drill import DrillError  # noqa: PLC0415
    from hearth.drill import drill as drill_at  # noqa: PLC0415

    # Whoever ends this process ends it with its throw-away box.
    end_once()
    console = Console(stderr=True, highlight=False)
    try:
        done = drill_at(fleet, household, lambda refusal: _key(household.id, refusal), progress.on(console))
    except (DrillError, LabError) as fault:
        sys.stderr.write(f"{fault}\n")
        raise typer.Exit(FAILED) from None
    if output is DrillFormat.json:
        typer.echo(json.dumps(asdict(done)))
    else:
        _print(household.id, done, Console(highlight=False))


def _key(household: str, refusal: str) -> str:
    """Ask for the key; ``refusal`` says why the one before was none, to whoever types another."""
    if not sys.stdin.isatty():
        key = sys.stdin.readline().strip()
        if key and refusal:
            sys.stderr.write(f"{refusal}\n")
        return key
    if refusal:
        sys.stderr.write(f"{refusal}\n")
    return getpass.getpass(f"The key on the sheet of {household} (it is not shown): ").strip()


def _print(household: str, done: Drilled, console: Console) -> None:
    from rich.table import Table  # noqa: PLC0415

    told = done.report
    table = Table(title=f"The backup of {household} comes back", show_header=False)
    table.add_row("taken at", told["taken_at"])
    table.add_row("people", str(told["users"]))
    table.add_row("files", f"{told['files']}, {told['bytes'] / MB:.0f} MB")
    table.add_row("repository", f"{done.repository_bytes / MB:.0f} MB")
    for name, seconds in {
        **done.seconds,
        **{f"restore: {each}": time for each, time in told["seconds"].items()},
    }.items():
        table.add_row(name, f"{seconds:.1f} s")
    console.print(table)


def _fail(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    raise typer.Exit(USAGE)
